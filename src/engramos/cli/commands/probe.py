"""`engramos probe`: examine an adapter."""

import math
from typing import TYPE_CHECKING

from engramos.cli.commands.learn import examined_json
from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Bounds, Device, Dtype, Model, ProfileName, Seed, opened_weights, read_bounds
from engramos.cli.options import DryRun, Id
from engramos.cli.screen import show_rows

if TYPE_CHECKING:
    from engramos.parametric.profiles import Profile
    from engramos.verbs.parametric.probe import Examined

EXAMPLE = "engramos probe $ID --model SmolLM2-135M-Instruct"


def probe(
    invocation: Invocation,
    cube_id: Id,
    model: Model,
    profile: ProfileName = None,
    bounds: Bounds = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> int:
    """Examine an adapter; it is used from now on exactly where it passes.

    The exit code is 1 where it does not pass.
    """
    with opened_weights(invocation, model, dtype, device, bounds=bounds) as (_, weights):
        found = weights.probe(cube_id, profile=profile, seed=seed, dry_run=dry_run)
    output = invocation.output
    from engramos.parametric.profiles import profile as profile_of
    from engramos.verbs.parametric._cube import is_always_on

    name = profile or ("always_on" if is_always_on(found.cube) else "gated")
    rows = _rows(found, profile_of(name, **read_bounds(bounds)))
    if output.is_json:
        values = examined_json(found.cube, found.failures) | {"metrics": found.metrics, "profile": name}
        bounded = {metric: {"bound": bound, "is_met": ok == "yes"} for metric, _, bound, ok in rows if bound}
        output.object(values | {"bounds": bounded, "is_dry_run": dry_run})
        return ERROR if found.failures else OK
    show_rows(output, ("metric", "value", "bound", "ok"), rows)
    for why in found.failures:
        output.warn(why)
    state = found.cube.header.state.value
    if found.failures:
        output.warn(f"it does not pass as {name}; its state is {state}")
        return ERROR
    output.say(f"it passes as {name}; its state is {state}", "good")
    return OK


def _rows(found: "Examined", by: "Profile") -> list[tuple[str, str, str, str]]:
    """Return metric, value, bound and whether it holds; what has a bound first."""
    rows = []
    for metric in (*by.bounds, *(one for one in found.metrics if one not in by.bounds)):
        bound = by.bounds.get(metric)
        value = found.metrics.get(metric, math.nan)
        if math.isnan(value) and metric not in found.metrics:
            if metric in by.required:
                rows.append((metric, "not measured", str(bound), "no"))
            continue
        ok = "" if bound is None else "yes" if bound.allows(value) else "no"
        rows.append((metric, f"{value:.3f}", "" if bound is None else str(bound), ok))
    return rows
