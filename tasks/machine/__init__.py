"""What work stands on: devices, places on them, processes of our own, progress."""
