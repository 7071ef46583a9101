"""What a KV cube is, told without any tensor library."""

from engramos.cube import ActivationPayload, Form, MemCube
from engramos.errors import InvalidInputError


def payload_of(cube: MemCube) -> ActivationPayload:
    """Return the payload of a KV cube.

    Raises:
        InvalidInputError: if the cube is none.
    """
    if cube.header.form is not Form.ACTIVATION or not isinstance(cube.payload, ActivationPayload):
        raise InvalidInputError(f"cube {cube.id!r} is {cube.header.form}: give the id of a KV cube, see 'kv list'")
    return cube.payload
