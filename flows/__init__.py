"""Order: one flow a file, and the command line that starts them."""
