"""A few hundred ratings in the original format of MovieLens-1M."""

from pathlib import Path

import numpy as np


def write_movielens(folder: Path) -> None:
    """30 users who rated 12 of 20 movies each, in an order of their own."""
    generator = np.random.default_rng(0)
    ratings = [
        f"{user}::{movie}::{generator.integers(1, 6)}::{1000 * place + user}"
        for user in range(1, 31)
        for place, movie in enumerate(generator.permutation(np.arange(1, 21))[:12])
    ]
    genders = ["F" if user % 2 else "M" for user in range(1, 31)]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n", encoding="latin-1")
    people = [f"{user}::{gender}::25::{user % 5}::12345" for user, gender in enumerate(genders, start=1)]
    (folder / "users.dat").write_text("\n".join(people) + "\n", encoding="latin-1")
    movies = [f"{movie}::Amélie no. {movie} (2001)::Comedy|Romance" for movie in range(1, 21)]
    (folder / "movies.dat").write_text("\n".join(movies) + "\n", encoding="latin-1")
