import pytest

from vidsim.cli.encoders import find_card
from vidsim.errors import VidsimError


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("timesformer-bas", "did you mean 'timesformer-base'?"),
        ("timesformer-socia", "did you mean the adapter 'TimeSformer-social'?"),
        ("timesformer-SOCIAL2", "did you mean the adapter 'TimeSformer-social'?"),
        ("dinov22", "did you mean 'dinov2-base'?"),
    ],
)
def test_the_nearest_of_encoders_and_adapters_is_suggested(asked, said, tmp_path):
    folder = tmp_path / "adapters" / "TimeSformer-social"
    folder.mkdir(parents=True)
    (folder / "vidsim.json").touch()
    with pytest.raises(VidsimError) as told:
        find_card(asked, str(tmp_path))
    assert str(told.value) == f"no encoder named {asked!r}; {said}"
