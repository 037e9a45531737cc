"""One protocol per file: which calls to make, how to decode their answers, how to encode actions.

Adapters do no input or output; what they need read they ask for as a `Reading`.
"""
