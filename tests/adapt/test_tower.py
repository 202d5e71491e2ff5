"""Towers: frames stay on the device as far as there is room."""

from tiny_trainer import material, recipe, trainer

from vidsim.adapt.frame_tower import FrameTower


def test_frames_are_read_again_only_where_there_is_no_room(publish):
    tiny = publish("timesformer-base")
    stuff, asked = material(tiny.card), []
    made = trainer(tiny, recipe(), stuff=stuff)

    def frames(name):
        asked.append(name)
        return stuff.frames(name)

    tower = FrameTower(made.encoder, frames, made.layer)
    first, second, third = stuff.fit.ids[:3]
    plain = tower([first, second], None)
    tower([first, second], None)
    assert asked == [first, second] * 2  # on a CPU nothing is held: the cache is in memory already
    tower._frames._room = 2 * stuff.frames(first).nbytes
    for _ in range(3):
        tower([first, second, third], None)
    assert asked[4:] == [first, second, third, third, third]
    assert (tower([first, second], None) == plain).all()
