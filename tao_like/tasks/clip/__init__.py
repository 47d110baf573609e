"""Images and words in one space: classify with words given at call time, search, retrieve."""
