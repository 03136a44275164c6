"""One file a step, in the order of their numbers. In: the schema of the step before. Out: the next."""
