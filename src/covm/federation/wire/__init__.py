"""What travels, as values: formats, names, limits and the registry of message types.

No I/O, no clock and no task lives here. Everything above (peers, dispatch, gossip, the networks) may use it; it uses
only the standard library, msgspec and the codec of the native core. Bytes from outside that are not what they should
be raise `Malformed`; values of our own user that do not fit raise errors of `covm.federation.errors`.

- `kinds` what may be signed · `limits` every bound · `names` type names · `federation_id` which federation
- `incarnation`, `message` the signed body · `message_type`, `fields`, `registry` typed payloads · `received` `Message`
- `signed` bodies and their envelopes · `record` the header of a record, its log and its body · `record_key` its key
- `envelope` a signed envelope in its parts · `car` content in a file · `varint` lengths
- `frames` the direct stream · `join` the HELLO to strangers · `system` heartbeats and peer info · `display` safe text
- `multiaddr` where an address leads
"""
