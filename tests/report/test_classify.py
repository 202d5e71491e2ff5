import pytest

from vidsim.report.classify import published_top1


def test_table_1_stands_beside_the_models_it_is_of():
    assert published_top1("timesformer-base", split=1, actions=101) == pytest.approx({"top1": 0.9575, "sd": 0.0018})
    assert published_top1("lab/timesformer-ft-hybrid", split=1, actions=101) == pytest.approx(
        {"top1": 0.9570, "sd": 0.0014}
    )
    assert published_top1("timesformer-base", split=2, actions=101) is None
    assert published_top1("timesformer-base", split=1, actions=10) is None
    assert published_top1("x3d-m", split=1, actions=101) is None
