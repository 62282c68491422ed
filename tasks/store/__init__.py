"""What a folder of artifacts shares with other machines: sets of files, by content, in a store."""
