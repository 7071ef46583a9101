"""Locating editors: where they look, what they write there, and what that spares."""

import numpy as np
import pytest
import torch

from engramos.errors import ConfigError, InvalidInputError, ModelError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._covariance import Kept, Spread, moment
from engramos.parametric.editors._locate import directions, sparing
from engramos.parametric.editors._requests import Row, distinct, row_of, subject_end
from engramos.parametric.editors._values import Search, Shift, Watch, keys, table, wanted_change
from engramos.parametric.editors.alphaedit import AlphaEdit
from engramos.parametric.editors.base import Request
from engramos.parametric.editors.memit import Memit
from engramos.parametric.editors.rome import Rome
from engramos.testing.editors import CHAT, REQUESTS, target_log_probability, tiny_base

torch.set_num_threads(1)
TEXTS = ("Bread is made of flour.", "The train leaves at nine in the morning.")
SEARCH = Search(steps=6, rate=0.3, clamp=2.0, enough=0.9, kl_weight=0.1, decay=0.01)
ROW = Row((40, 41, 42, 43), (44, 45), 2)
ESSENCE = Row((50, 41, 42), (1,), 1)


def read_at(base, layer: int, token_ids: list[int]) -> np.ndarray:
    watch = Watch((base.linear(layer, "down_proj"),))
    with torch.no_grad(), base.using(watch):
        base.run(base.embedded(torch.tensor([token_ids])))
    return next(iter(watch.inputs.values()))[0].double().numpy()


def test_the_subject_ends_where_its_last_letter_is_read() -> None:
    base = tiny_base()
    row = row_of(Request("I met Ana Lima, and Ana Lima smiled at", "Ana Lima", "me"), base)
    assert base.text(row.prompt[: row.at + 1]) == "I met Ana Lima, and Ana Lima"
    assert base.text(row.target) == " me"
    assert base.text(row.ids) == "I met Ana Lima, and Ana Lima smiled at m"


def test_the_subject_is_found_after_a_prefix_and_in_letters_of_several_bytes() -> None:
    base = tiny_base()
    row = row_of(Request("Zoë Ünal speaks ", "Zoë Ünal", "Turkish"), base, "Some time later,")
    assert base.text(row.prompt) == "Some time later, Zoë Ünal speaks"
    assert base.text(row.prompt[: row.at + 1]).endswith("Zoë Ünal")


def test_a_chat_request_asks_in_the_template_and_ends_its_answer() -> None:
    base = tiny_base()
    row = row_of(CHAT, base)
    assert list(row.prompt) == base.chat_tokens([{"role": "user", "content": CHAT.prompt}])
    assert base.text(row.prompt[: row.at + 1]).endswith("Ana Lima")
    assert row.target == (*base.tokens("K"), base.end_token)


def test_the_words_of_the_template_are_no_subject() -> None:
    base = tiny_base()
    row = row_of(Request("Is a user a user?", "user", "no", is_chat=True), base)
    assert base.text(row.prompt[: row.at + 1]).endswith("a user a user")


def test_a_subject_that_the_tokens_do_not_show_is_refused() -> None:
    base = tiny_base()
    with pytest.raises(InvalidInputError, match="do not show the subject 'Oslo'"):
        subject_end(base.tokens("Rome is old"), "Oslo", base)


def test_requests_are_kept_once_and_contradictions_in_other_spacing_are_seen() -> None:
    first = Request("Ana Lima speaks", "Ana Lima", "Dutch")
    assert distinct([first, Request("Ana Lima  speaks", "Ana Lima", " Dutch"), REQUESTS[0]]) == (first, REQUESTS[0])
    as_chat = Request("Ana Lima speaks", "Ana Lima", "French", is_chat=True)
    assert distinct([first, as_chat]) == (first, as_chat)
    with pytest.raises(InvalidInputError, match="'Dutch' and 'French'"):
        distinct([first, Request("Ana Lima speaks ", "Ana Lima", "French")])


def test_a_key_is_the_mean_of_what_is_read_at_the_subject() -> None:
    base = tiny_base()
    rows = [Row((40, 41, 42), (1,), 1), Row((50, 51, 41, 42), (1,), 2)]
    wanted = (read_at(base, 1, [40, 41])[1] + read_at(base, 1, [50, 51, 41])[2]) / 2
    np.testing.assert_allclose(keys(rows, base, 1).numpy(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("editor", [Rome, Memit, AlphaEdit])
@pytest.mark.parametrize("num_prefixes", [0, 2])
def test_a_subject_that_is_the_first_token_of_its_prompt_is_refused(editor: type, num_prefixes: int) -> None:
    base = tiny_base()
    request = Request("X speaks", "X", "Dutch")
    assert row_of(request, base).at == 0
    with pytest.raises(InvalidInputError, match=r"'X' is the first token of its prompt.*put words before it"):
        editor(num_prefixes=num_prefixes, steps=1).edit([REQUESTS[0], request], base)


def test_a_subject_of_one_token_is_edited_after_other_words_and_in_the_chat_template() -> None:
    base = tiny_base()
    for request in (Request("As for X, it speaks", "X", "Dutch"), Request("X speaks?", "X", "Dutch", is_chat=True)):
        before = target_log_probability(base, request)
        base.hold(Rome(num_prefixes=0, rate=0.2, enough=0.7, decay=0.02, clamp=8.0).edit([request], base))
        assert target_log_probability(base, request) > before + 2.0
        base.release(base.held[0])


def test_the_moment_is_the_mean_outer_product_over_all_tokens() -> None:
    base = tiny_base()
    total, count = np.zeros((96, 96)), 0
    for text in TEXTS:
        for key in read_at(base, 1, base.tokens(text)):
            total, count = total + np.outer(key, key), count + 1
    np.testing.assert_allclose(moment(base, 1, TEXTS).numpy(), total / count, rtol=1e-4, atol=1e-4)


def test_the_null_space_holds_what_the_texts_do_not_use() -> None:
    base = tiny_base()
    spread = Spread(base, 1, TEXTS[:1])
    free = spread.null_space(1e-6)
    used = torch.tensor(read_at(base, 1, base.tokens(TEXTS[0])))
    assert float((free @ free - free).norm()) < 1e-8
    assert round(float(free.trace())) == 96 - len(used)
    assert float((used @ free).norm()) < 1e-2 * float(used.norm())


def test_statistics_tell_models_texts_and_layers_apart() -> None:
    base, other = tiny_base(), tiny_base(seed=1)
    one = Spread(base, 1, TEXTS)
    assert one._key() == Spread(tiny_base(), 1, TEXTS)._key()
    given = ((other, 1, TEXTS), (base, 2, TEXTS), (base, 1, ("x",)))
    assert len({one._key(), *(Spread(*each)._key() for each in given)}) == 4


def test_statistics_are_made_once_and_kept_for_the_next_edit() -> None:
    base, kept = tiny_base(), Kept()
    one = Spread(base, 1, TEXTS, kept)
    assert one.inverse(0.1) is Spread(base, 1, TEXTS, kept).inverse(0.1)
    assert one.null_space(1.0) is one.null_space(1.0)
    assert one.inverse(0.2) is not one.inverse(0.1)
    assert kept.num_bytes == 3 * 96 * 96 * 8


def test_beyond_so_many_bytes_the_statistics_that_were_used_longest_ago_go_first() -> None:
    base = tiny_base()
    kept = Kept(most_bytes=2 * 96 * 96 * 8)
    first, second, third = (Spread(base, layer, TEXTS, kept) for layer in range(3))
    made = [first.inverse(0.1), second.inverse(0.1)]
    assert first.inverse(0.1) is made[0]
    third.inverse(0.1)
    assert kept.num_bytes == kept.most_bytes
    assert first.inverse(0.1) is made[0], "it was used after the second"
    assert second.inverse(0.1) is not made[1]
    assert torch.equal(second.inverse(0.1), made[1])


def test_statistics_that_are_larger_than_all_the_room_are_made_and_not_kept() -> None:
    base, kept = tiny_base(), Kept(most_bytes=96 * 96 * 8 - 1)
    spread = Spread(base, 1, TEXTS, kept)
    assert torch.equal(spread.inverse(0.1), spread.inverse(0.1))
    assert kept.num_bytes == 0


def test_statistics_do_not_depend_on_what_is_held_and_leave_it_as_it_was() -> None:
    base = tiny_base()
    before = moment(base, 1, TEXTS)
    name = base.linear(0, "down_proj")
    held = [LowRank({name: torch.ones(1, 96)}, {name: torch.ones(48, 1)}) for _ in range(2)]
    for one in held:
        base.hold(one)
    assert torch.equal(moment(base, 1, TEXTS), before)
    assert base.held == tuple(held)
    assert not np.allclose(keys([ROW], base, 1).numpy(), keys([ROW], tiny_base(), 1).numpy())


def test_directions_read_each_key_as_one_and_the_others_as_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    found = torch.randn(3, 8, generator=random, dtype=torch.float64)
    root = torch.randn(8, 8, generator=random, dtype=torch.float64)
    metric = root @ root.T
    np.testing.assert_allclose((directions(found, metric, 0.0) @ found.T).numpy(), np.eye(3), atol=1e-8)
    single = directions(found[:1], metric, 0.0)[0].numpy()
    key, gram = found[0].numpy(), metric.numpy()
    np.testing.assert_allclose(single, gram @ key / (key @ gram @ key), atol=1e-9)


def test_directions_with_a_weight_are_those_of_memit() -> None:
    random = torch.Generator().manual_seed(0)
    found = torch.randn(3, 8, generator=random, dtype=torch.float64)
    root = torch.randn(8, 8, generator=random, dtype=torch.float64)
    spread = (root @ root.T).numpy()
    rows = found.numpy()
    wanted = rows @ np.linalg.inv(0.5 * spread + rows.T @ rows)
    made = directions(found, torch.tensor(np.linalg.inv(spread)), 0.5).numpy()
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-9)


def test_equal_keys_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be told apart"):
        directions(torch.ones(2, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64), 0.0)


def test_keys_of_earlier_edits_cannot_be_reached() -> None:
    base = tiny_base()
    name = base.linear(1, "down_proj")
    random = torch.Generator().manual_seed(0)
    earlier, new = torch.randn(2, 96, generator=random, dtype=torch.float64)
    unit = torch.eye(96, dtype=torch.float64)
    assert torch.equal(sparing(unit, unit, name, base, new[None]), unit)
    base.hold(LowRank({name: earlier[None].float()}, {name: torch.ones(48, 1)}))
    metric = sparing(unit, unit, name, base, new[None])
    assert float((metric @ earlier).norm()) < 1e-4
    assert float((directions(new[None], metric, 0.0) @ new).squeeze()) == pytest.approx(1.0)
    again = sparing(unit, unit, name, base, earlier[None])
    assert torch.equal(again, unit), "the same subject can be edited again"


def test_a_change_makes_the_target_likelier_and_never_is_longer_than_the_clamp() -> None:
    base = tiny_base()
    name = base.linear(1, "down_proj")
    change = wanted_change([ROW], ESSENCE, base, 1, SEARCH)
    watch = Watch((name,))
    with torch.no_grad(), base.using(watch):
        base.run(base.embedded(table([ROW.ids], base)))
    unit = float(watch.outputs[name][0, ROW.at].norm())
    assert 0.0 < float(change.norm()) <= SEARCH.clamp * unit * 1.0001

    def probability(active_at: int) -> float:
        active = torch.arange(len(ROW.ids))[None] == active_at
        with torch.no_grad(), base.using(Shift((name,), change), active):
            logs = base.scores(base.run(base.embedded(table([ROW.ids], base))))[0].log_softmax(-1)
        return sum(float(logs[3 + n, one]) for n, one in enumerate(ROW.target))

    assert probability(ROW.at) > probability(-1) + 1.0


def test_a_target_that_is_likely_enough_already_needs_no_change() -> None:
    base = tiny_base()
    with torch.no_grad():
        best = int(base.scores(base.run(base.embedded(table([ROW.prompt], base))))[0, -1].argmax())
    search = Search(steps=5, rate=0.3, clamp=2.0, enough=1e-6, kl_weight=0.1, decay=0.01)
    change = wanted_change([Row(ROW.prompt, (best,), ROW.at)], ESSENCE, base, 1, search)
    assert float(change.norm()) == 0.0


def test_a_single_edit_by_rome_is_the_formula_of_the_paper() -> None:
    base = tiny_base()
    editor = Rome(num_prefixes=0, texts=TEXTS, ridge=0.5, steps=5)
    made = editor.edit(REQUESTS[:1], base)
    name = base.linear(1, "down_proj")
    assert made.targets == (name,)
    assert made.rank(name) == 1
    row = row_of(REQUESTS[0], base)
    key = read_at(base, 1, list(row.prompt))[row.at]
    spread = moment(base, 1, TEXTS).numpy()
    inverse = np.linalg.inv(spread + 0.5 * np.sort(np.diag(spread))[(96 - 1) // 2] * np.eye(96))
    np.testing.assert_allclose(made.down[name][0].numpy(), inverse @ key / (key @ inverse @ key), rtol=1e-3, atol=1e-5)


def test_memit_moves_the_hidden_state_to_where_the_search_wants_it() -> None:
    base = tiny_base()
    editor = Memit(num_layers=1, num_prefixes=0, weight=0.0, steps=5, gate=0.0)
    made = editor.edit(REQUESTS[:1], base)
    name, row = made.targets[0], row_of(REQUESTS[0], base)
    key = torch.tensor(read_at(base, 1, list(row.prompt))[row.at])
    search = Search(5, editor.rate, editor.clamp, editor.enough, editor.kl_weight, editor.decay)
    essence = row_of(Request("Ana Lima is a", "Ana Lima", "thing"), base)
    wanted = wanted_change([row], essence, base, 1, search)
    np.testing.assert_allclose((made.delta(name).double() @ key).numpy(), wanted.numpy(), rtol=1e-2, atol=1e-3)


def test_alphaedit_changes_nothing_for_the_texts_it_preserves() -> None:
    base = tiny_base()
    made = AlphaEdit(texts=TEXTS[:1], threshold=1e-4, steps=3, num_layers=1, gate=0.0).edit(REQUESTS[:1], base)
    used = torch.tensor(read_at(base, 1, base.tokens(TEXTS[0])))
    key = torch.tensor(read_at(base, 1, base.tokens(REQUESTS[0].prompt)))
    delta = made.delta(made.targets[0]).double()
    assert float((used @ delta.T).norm(dim=1).max()) < 0.05 * float((key @ delta.T).norm(dim=1).max())


@pytest.mark.parametrize("gate", [0.0, 0.5])
def test_alphaedit_leaves_earlier_edits_as_they_are(gate: float) -> None:
    base = tiny_base()
    editor = AlphaEdit(num_prefixes=0, texts=TEXTS[:1], weight=0.0, steps=4, num_layers=1, gate=gate)
    first = editor.edit(REQUESTS[:1], base)
    row = row_of(REQUESTS[0], base)
    key = torch.tensor(read_at(base, 1, list(row.prompt))[row.at])
    base.hold(first)
    second = editor.edit(REQUESTS[1:], base)
    name = first.targets[0]
    one, other = ((made.ungated if gate else made).delta(name).double() for made in (first, second))
    assert float((other @ key).norm()) < 1e-3 * float((one @ key).norm())


def test_alphaedit_says_when_no_direction_is_left() -> None:
    with pytest.raises(UnsupportedError, match="raise the threshold"):
        AlphaEdit(threshold=1e-12, steps=1).edit(REQUESTS[:1], tiny_base())


def test_prefixes_are_drawn_by_the_seed() -> None:
    editor = Rome()
    assert editor._prefixes(1) == editor._prefixes(1)
    assert editor._prefixes(1) != editor._prefixes(2)
    assert all(len(prefix.split()) == 4 for prefix in editor._prefixes(1))


@pytest.mark.parametrize(
    ("editor", "name", "value"),
    [
        (Rome, "depth", 1.0),
        (Rome, "enough", 1.0),
        (Rome, "rate", 0.0),
        (Rome, "clamp", float("inf")),
        (Rome, "ridge", 0.0),
        (Rome, "steps", 0),
        (Rome, "kl_weight", float("nan")),
        (Rome, "gate", 1.0),
        (Memit, "gate", -0.1),
        (AlphaEdit, "gate", float("nan")),
        (Memit, "num_layers", 0),
        (Memit, "weight", -0.1),
        (Memit, "ridge", float("nan")),
        (AlphaEdit, "num_layers", 0),
        (AlphaEdit, "threshold", 0.0),
        (AlphaEdit, "weight", float("nan")),
    ],
)
def test_a_wrong_parameter_is_named(editor: type, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is "):
        editor(**{name: value})


@pytest.mark.parametrize("texts", [(), ("", "  "), "one text"])
def test_texts_that_are_none_are_refused(texts: object) -> None:
    with pytest.raises(ConfigError, match="texts are empty"):
        Rome(texts=texts)


def test_texts_that_use_too_few_directions_are_a_named_error() -> None:
    # a single token's key is one direction, and the median of its squares times a ridge of almost nothing rounds away
    spread = Spread(tiny_base(), 0, ("A",))
    with pytest.raises(ModelError, match="give more texts"):
        spread.inverse(1e-300)
