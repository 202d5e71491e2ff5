import pytest

from vidsim.errors import VidsimError
from vidsim.extract.spec import FeatureSpec


@pytest.mark.parametrize(
    ("field", "legal"),
    [
        ("dtype", "'float32' or 'float16'"),
        ("captions", "'mean' or 'first'"),
        ("compute", "'float32' or 'bfloat16'"),
    ],
)
def test_words_that_are_not_known_are_refused(unhooked, field, legal):
    with pytest.raises(VidsimError, match=f"no {field} 'float64': expected {legal}"):
        FeatureSpec(**{field: "float64"})
