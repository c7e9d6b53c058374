"""Examples as TFDS reads them: `tf.train.Example` messages, written without TFDS.

Its own serializer takes as long as hashing the image, and importing it longer than a worker's first
hundred images. The fields are in alphabetical order, so that equal examples are equal bytes.

Source: `tensorflow/core/example/{example,feature}.proto`, and the encoding of Protocol Buffers.
"""

_LENGTH_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of `Feature`


def example(image: bytes, label: int, key: str) -> bytes:
    """Returns the message of an example with the features `image`, `key` and `label` >= 0."""
    features = (
        _entry("image", _BYTES_LIST, image),
        _entry("key", _BYTES_LIST, key.encode()),
        _entry("label", _INT64_LIST, _varint(label)),  # packed: one number
    )
    return _field(1, *features)  # Example.features


def _entry(name: str, kind: int, value: bytes) -> bytes:
    """Returns an entry of `Features.feature`: a map is repeated pairs of a key and a value."""
    return _field(1, _field(1, name.encode()), _field(2, _field(kind, _field(1, value))))


def _field(number: int, *contents: bytes) -> bytes:
    length = sum(map(len, contents))
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(length), *contents))


def _varint(number: int) -> bytes:
    """Encodes a number >= 0 in groups of seven bits, the lowest first."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))
