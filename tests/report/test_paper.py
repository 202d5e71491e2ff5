from vidsim.encoders.catalog import CARDS
from vidsim.report.paper import published, table2


def test_table_2_is_the_papers():
    assert len(table2()) == 6 + 9 + 21 + 2 + 1
    assert published("x3d-m") == {"rho2": 0.123559, "two_way_first": 68.48}
    assert published("dino-vitb16")["rho2"] == 0.075451
    assert published("roberta-base")["rho2"] == 0.025612
    assert published("motion-energy") is None
    assert all(0 < row["rho2"] < 0.2 and 45 < row["two_way_first"] < 75 for row in table2().values())


def test_encoders_find_their_own_row():
    assert published("videomae") == published("videomae-base-finetuned-kinetics") == published("VideoMAE")
    assert published("videomae")["rho2"] == 0.086675
    assert published("clip-vit-b-32")["rho2"] == 0.126510
    # the text speaks of CLIP-B/16, but the table has B/32
    assert published("clip-vit-b-16") is None
    beyond = {"videomae-large-finetuned-kinetics", "vivit-b-16x2-kinetics400", "dinov2-base", "dinov3-vitb16"}
    assert {name for name in beyond if published(name)} == set()


def test_a_name_that_a_row_happens_to_end_with_has_none():
    ends = {uid.rpartition(mark)[2] for uid in table2() for mark in "-/"} - CARDS.keys()
    assert {"m", "s", "v2"} <= ends
    assert {name for name in ends if published(name)} == set()
