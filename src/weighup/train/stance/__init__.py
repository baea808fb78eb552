"""Training of the stance model: pairs, edits of them, the network, the run, the wide half, the files it writes.

`own.train_stance` is the whole of it for a user's rows. torch is imported only by the files that train.
"""
