"""Scope: who a cube belongs to and who asks."""

from dataclasses import dataclass

from engramos.errors import InvalidInputError

MAX_NAME_LENGTH = 256


def check_name(what: str, value: object) -> str:
    """Return `value` if it can name a tenant, user, agent or session.

    Raises:
        InvalidInputError: if it is no text, is empty, over 256 characters, or holds characters that do not print.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f"{what} is {value!r}: give a name that is not empty")
    if len(value) > MAX_NAME_LENGTH:
        raise InvalidInputError(f"{what} has {len(value)} characters: at most {MAX_NAME_LENGTH} are allowed")
    if not value.isprintable():
        raise InvalidInputError(f"{what} is {value!r}: use characters that print")
    return value


@dataclass(frozen=True, slots=True)
class Scope:
    """Tenant and user, always; agent and session, where the question is about them alone.

    Tenants never see each other. Within a tenant, users see each other's cubes only by grant. In a question, `agent`
    and `session` narrow; in a write, they are recorded.
    """

    tenant: str
    user: str
    agent: str | None = None
    session: str | None = None

    def __post_init__(self) -> None:
        check_name("tenant", self.tenant)
        check_name("user", self.user)
        if self.agent is not None:
            check_name("agent", self.agent)
        if self.session is not None:
            check_name("session", self.session)

    def __str__(self) -> str:
        parts = [self.tenant, self.user, self.agent, self.session]
        return "/".join(part for part in parts if part is not None)
