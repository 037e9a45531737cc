"""The transaction manager: the only code that signs and sends.

`manager` tells how a plan is begun, `verdicts` what came of it. `followed` is what is under way,
`mending` what is done at a head about what waits, `outbox` how bytes leave. `seams` is what they ask
of others, `witness` what the node says of what was sent, `remedies` what to do about a slot that is
not mined, `slots` which nonces a plan gets, `patience` when to stop sending, `pen` how bytes come to
be signed.
"""
