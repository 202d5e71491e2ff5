import json
import re

import numpy as np
import pytest
from tiny_study import BASE, RECIPE, WEIGHTS, ready, run, same, study, weights

__all__ = ["ready", "study"]

PIPELINE = "sentence_embedding"


def test_the_answer_has_baselines_intervals_and_reliability(vidsim, ready):
    status, out, err = run(vidsim, "--json", "--seeds", "0,1")
    assert status == 0, err
    answer = json.loads(out)
    assert list(answer["baselines"]) == ["base", "centred", "linear"]
    base = answer["baselines"]["base"]
    for row in answer["runs"]:
        assert row["scores"]["rho"] == pytest.approx(row["curve"][row["epoch"]]["rho"], abs=1e-6)
        assert row["curve"][0]["rho"] == pytest.approx(base["scores"]["rho"], abs=1e-6)
        less = row["differences"]["rho"]
        assert less["difference"] == pytest.approx(row["scores"]["rho"] - base["scores"]["rho"], abs=1e-9)
        low, high = row["intervals"]["rho"]
        assert low <= row["scores"]["rho"] <= high
    values = [row["scores"]["rho"] for row in answer["runs"]]
    assert answer["seeds"]["rho"]["mean"] == pytest.approx(np.mean(values))
    best = max(answer["runs"], key=lambda row: row["scores"]["rho"])
    assert answer["best"] == {"adapter": best["adapter"], "seed": best["seed"]}
    assert answer["data"]["people"] == 6
    assert answer["data"]["stimuli"] == 24
    folders = ready / "indexes" / "adapters"
    assert sorted(path.name for path in folders.iterdir()) == ["mine", "mine.seed-0", "mine.seed-1"]
    assert same(weights(folders / "mine"), weights(folders / best["adapter"]))
    card = (folders / "mine" / "README.md").read_text()
    for name in (BASE, f"{BASE}, centred", f"{BASE}, linear transform", "**mine**", "mine.seed-0", "mine.seed-1"):
        assert f"\n| {name} | " in card
    assert "Mean over seeds" in card
    own = (folders / "mine.seed-0" / "README.md").read_text()
    assert "mine.seed-1" not in own
    status, out, _ = vidsim("models", "mine")
    assert "all-MiniLM-L6-v2, the base; the adapter is in indexes/adapters/mine" in out
    listed = json.loads(vidsim("models", "--family", "adapter", "--json")[1])
    assert [one["name"] for one in listed] == ["mine", "mine.seed-0", "mine.seed-1"]
    assert {one["checkpoint"] for one in listed} == {BASE}
    (folders / "mine.seed-0" / "vidsim.json").write_text("{")
    status, out, err = vidsim("models", "--family", "adapter")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["mine", "mine.seed-1"]
    assert err.startswith("left out: ")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("kind", ["lora", "lora and a linear head", "linear head"])
def test_the_code_of_the_model_card_gives_what_vidsim_gives(kind, vidsim, ready, monkeypatch):
    from vidsim.adapt.card import resolve_adapter
    from vidsim.encoders import catalog
    from vidsim.encoders.locate import find_copy

    last = RECIPE + "[run]\nvalidation = 0\n"  # keeps the last epoch, better or not
    head = 'rank = 2\nhead = "linear"' if kind == "lora and a linear head" else "rank = 2"
    (ready / "quick.toml").write_text(last.replace("rank = 2", head))
    status, _, err = run(vidsim, recipe="all-minilm-l6-v2-linear" if kind == "linear head" else "quick.toml")
    assert status == 0, err
    folder = ready / "indexes" / "adapters" / "mine"
    assert (folder / WEIGHTS).exists() == (kind != "linear head")
    (code,) = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    _, place = find_copy(catalog.card(BASE))
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    monkeypatch.chdir(folder)
    scope = {}
    exec(code.replace('"sentence-transformers/all-MiniLM-L6-v2"', f'{str(place)!r}, device="cpu"'), scope)
    captions, layer = [("Two people talk.",)], encoder.card.default_layer
    found = encoder.encode(captions, [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(scope["vectors"].numpy(), found, atol=1e-6)
    plain = catalog.load(catalog.resolve(BASE), device="cpu").encode(captions, [PIPELINE], lambda _, x: x)[PIPELINE]
    assert np.abs(plain - found).max() > 1e-3
