"""One verb a module: immutable inputs and a store in, one artifact out."""
