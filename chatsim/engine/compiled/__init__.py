"""The compiled engine: the life of sessions and messages as one event loop over tables, by LLVM."""
