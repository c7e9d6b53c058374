"""Does a long run stay as it is? Memory, open files, threads and disk over thousands of steps."""
