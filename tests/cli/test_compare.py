import numpy as np
from tiny_lab import IDS, POINTS, answer, refused, root

from vidsim.data.interop import write_rsm
from vidsim.embeddings import Embeddings
from vidsim.rsm import RSM, cosine_rsm

__all__ = ["root"]


def test_page(vidsim, root, tmp_path):
    arguments = ("a", "theory", "--judgments", "lab", "-n", 40, "--resamples", 0, "--html", tmp_path / "p.html")
    status, out, err = vidsim("compare", *arguments)
    assert (status, err) == (0, "")
    for words in ("a:head", "theory", "flip towards people", "McNemar", "people and B single out", "margins in sd"):
        assert words in out
    assert "95 %" not in out
    page = (tmp_path / "p.html").read_text()
    assert "caption of &lt;i&gt;clip 1&lt;/i&gt; &amp; $x$" in page
    assert "<i>" not in page
    assert page.count('<img src="data:image/jpeg;base64,') >= 1  # of the one stimulus that has a clip
    assert "http" not in page
    assert "exists already" in refused(vidsim, *arguments)


def test_plots(vidsim, root, tmp_path):
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        files = ("-n", 1, "--plot", tmp_path / f"p.{suffix}", "--resamples", 0)
        assert answer(vidsim, "a", "b", "--judgments", "lab", *files)["plot"] == str(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").read_bytes().startswith(start)


def test_bad_input(vidsim, root, tmp_path):
    lab = ("--judgments", "lab")
    holes = cosine_rsm(Embeddings(IDS, POINTS["a"])).similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    write_rsm(tmp_path / "holes.npz", RSM(IDS, holes))
    (tmp_path / "few.csv").write_text("id,x,y\nclip 1,1,2\nclip 2,2,1\n")
    (tmp_path / "flat.csv").write_text("id,x,y\n" + "".join(f"{n},1,2\n" for n in IDS))
    out = tmp_path / "out"
    for arguments, message in [
        (("a", "a:head", *lab), "'a:head' was given twice; expected two different spaces"),
        (("a", "z", *lab), "no encoder, similarity matrix or file 'z'"),
        (("a", tmp_path / "few.csv", *lab), "lacks 12 of 14 stimuli, the first is 'clip 0'"),
        (("a", tmp_path / "flat.csv", *lab), "are equal, so it judges no trial"),
        (("a", tmp_path / "holes.npz", *lab), "has no similarity for some pair of"),
        (("a", "b", "--judgments", "labb"), "did you mean 'lab'?"),
        (("a", "b", *lab, "--split", "test"), "have no split 'test'"),
        (("a", "b", *lab, "-n", 0), "should be greater than or equal to 1"),
        (("a", "b", *lab, "--plot", tmp_path / "p.jpg"), "ends in .png or .svg"),
        (("a", "b", *lab, "--html", tmp_path / "no" / "p.html"), "make it first"),
        (("a", "b"), "nothing to compare by"),
        (("a", "b", "clip.mp4", *lab), "'clip.mp4' is a third argument"),
        (("a", "b", *lab, "--out", out), "--out goes with --rollout CLIP"),
        (("a", "b", *lab, "--device", "mars"), "--device goes with --rollout CLIP"),
        (("a", "b", *lab, "--checkpoint-b", tmp_path), "--checkpoint-b goes with --rollout CLIP"),
        (("a", "b", "--rollout", "x.mp4"), "--rollout needs --out FOLDER"),
        (("a", "b", "--rollout", "x.mp4", "--out", out, "--csv", tmp_path / "c.csv"), "--csv goes with --judgments"),
        (("a", "b", "--rollout", "x.mp4", "--out", out), "no clip 'x.mp4'"),
    ]:
        assert message in refused(vidsim, *arguments), arguments
    assert not out.exists()
    assert not list(tmp_path.glob("*.csv.*"))
