import json


def test_index_and_search_on_an_object_store(vidsim, clips, bucket, tmp_path):
    root = f"{bucket}/videos of mine/indexes"
    local = ("index", clips, "--encoder", "motion-energy", "--json", "--root")
    _, out, err = vidsim(*local, root)
    assert err == ""
    answer = json.loads(out)
    assert (answer["stimuli"], answer["index"]["built"]) == (6, True)
    vidsim(*local, tmp_path)
    found = [vidsim("search", "clip 1", "--json", "--root", place) for place in (root, tmp_path)]
    assert found[0] == found[1]
    assert len(found[0][1].splitlines()) == 5
    _, out, _ = vidsim(*local, root)
    assert (json.loads(out)["skipped"], json.loads(out)["index"]["built"]) == (6, False)
    assert not (tmp_path / "s3:").exists()


def test_a_missing_bucket_is_one_line(vidsim, clips, bucket):
    status, out, err = vidsim("index", clips, "--encoder", "motion-energy", "--root", "s3://elsewhere/x")
    assert (status, out) == (2, "")
    assert "elsewhere" in err
    assert err.count("\n") == 1
    status, out, err = vidsim("search", "clip 1", "--root", "s3://elsewhere/x")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
