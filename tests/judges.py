"""Judgments that tests make: random trials, CSV files, the released layout."""

import csv
import io

import numpy as np


def random_rows(n, t, seed=0):
    """Return t trials (a, b, odd) of three different stimuli of n."""
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(n, 3, replace=False) for _ in range(t)], np.int32)


def choices(unit, trials, temperature, seed=0):
    """Return rows of three different stimuli, their pair similarities, and which is chosen (the Gumbel trick)."""
    rng = np.random.default_rng(seed)
    rows = rng.permuted(np.tile(np.arange(len(unit)), (trials, 1)), axis=1)[:, :3]
    a, b, c = (unit[column] for column in rows.T)
    similarities = np.stack([(a * b).sum(axis=1), (a * c).sum(axis=1), (b * c).sum(axis=1)], axis=1)
    odd = 2 - (similarities / temperature + rng.gumbel(size=similarities.shape)).argmax(axis=1)
    return rows, similarities, odd


def unit_points(n, d=4, seed=0):
    """Return n random directions."""
    points = np.random.default_rng(seed).normal(size=(n, d))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def odd_last(rows, odd):
    """Return trials with the odd one last, as `Triplets` has them."""
    trial = np.arange(len(rows))
    first, second = np.where(odd == 0, 1, 0), np.where(odd == 2, 1, 2)
    return np.stack([rows[trial, first], rows[trial, second], rows[trial, odd]], axis=1)


def write_csv(path, header, rows, separator=",", encoding="utf-8"):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def release(folder, *, without=(), trials=0, videos=6):
    """Write a small release in the layout of Social-OOO; the first four videos are for training."""
    names = [f"clip {i}.mp4" for i in range(videos)]
    judged, stimuli = folder / "data" / "interim" / "similarity", folder / "data" / "raw" / "utils"
    judged.mkdir(parents=True)
    stimuli.mkdir(parents=True)
    header = ["participation", "task", "trial", "stim1_name", "stim2_name", "stim3_name", "choice", "response_time"]
    rows = [
        ["ann", "set1", 0, 0, 1, 2, 2, 1.5],
        ["ann", "set1", 1, 3, 0, 1, 3, 2.5],
        ["bob", "set1", 0, 0, 2, 3, 0, 3.5],
        ["bob", "set2", 4, 1, 1, 2, 2, 0.5],
    ]
    test = [["bob", "set2", 5, 4, 5, 0, 4, 9.5]]
    more = [
        [f"p{i % 4}", "set3", i, *row, _far(row), 2.0] for i, row in enumerate(random_rows(videos, trials).tolist())
    ]
    files = {
        judged / "all_triplets.csv": (header, rows + test + more),
        judged / "train_triplets.csv": (["triplet_id", *header], [[i, *row] for i, row in enumerate(rows[:3])]),
        judged / "test_triplets.csv": (["triplet_id", *header], [[4, *row] for row in test]),
        stimuli / "video_mapping.csv": (["index", "video_name"], enumerate(names)),
        stimuli / "train.csv": (["video_name"], [[name] for name in names[:4]]),
        stimuli / "test.csv": (["index", "video_name"], [[i, names[i]] for i in range(4, videos)]),
        stimuli / "captions.csv": (
            ["video_name", "caption_index", "caption"],
            [[names[0], 2, "second"], [names[0], 1, "first, with a comma"], [names[1], 1, "other"]],
        ),
        stimuli / "annotations.csv": (
            ["video_name", "rating-valence", "stimulus_set", "captions", "rating-intimacy"],
            [
                [name, i / 10, "train", f"['raw {i}', \"it's\"]", "" if i == 3 else 1]
                for i, name in enumerate(names[:4])
            ],
        ),
    }
    for path, (head, body) in files.items():
        if path.name not in without:
            write_csv(path, head, body)
    return folder


def _far(row):
    """Judge by the distance of numbers: the odd one is farther from the middle one."""
    low, middle, high = sorted(row)
    return low if middle - low > high - middle else high
