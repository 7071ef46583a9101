"""One measure a file: `measure` takes JSON values and returns a list of numbers."""
