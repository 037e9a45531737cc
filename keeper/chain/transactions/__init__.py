"""The transaction manager: the only code that signs and sends.

`manager` tells the story; `seams` is what it asks of others, `witness` what the node says of what
was sent, `remedies` what is done about a slot that is not mined, `slots` which nonces a plan gets,
`patience` when to stop sending, `pen` how bytes come to be signed.
"""
