"""The boxes of the R1 figure, each a generator of `StepStats`."""
