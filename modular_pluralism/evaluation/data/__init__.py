"""Task files: what is asked, what people really answered, and which groups they belong to."""
