"""Makes the lip model: synthesises a corpus, augments it, trains in torch, exports weights for numpy.

Nothing in here is needed to run the program.
"""
