"""Which system is better, from votes between them: `Matches` or rankings in, a `Leaderboard` with intervals out.

Raters: `bradley_terry` (maximum likelihood, ties, controls), `plackett_luce` (rankings), `elo` (online, averaged over
orders), `gaussian_belief` (votes one at a time); `Elo` and `Beliefs` are kept up to date vote by vote, and `next_match`
says who should meet next. Systems that were never compared are never ranked together. `read_matches` and
`write_leaderboard` are for files, `simulate_votes` and `votes_until` for trying raters on votes of known truth.
"""

from weighup.arena.belief import Beliefs, gaussian_belief
from weighup.arena.board import Coefficient, Leaderboard, Rating, write_leaderboard
from weighup.arena.bradley_terry import bradley_terry
from weighup.arena.elo import Elo, elo
from weighup.arena.graph import components, win_matrix
from weighup.arena.next_match import next_match
from weighup.arena.plackett_luce import plackett_luce
from weighup.arena.read import read_matches
from weighup.arena.simulate import Style, simulate_votes, voter, votes_until
from weighup.arena.types import Labels, Match, Matches, Ranking

__all__ = [
    "Beliefs",
    "Coefficient",
    "Elo",
    "Labels",
    "Leaderboard",
    "Match",
    "Matches",
    "Ranking",
    "Rating",
    "Style",
    "bradley_terry",
    "components",
    "elo",
    "gaussian_belief",
    "next_match",
    "plackett_luce",
    "read_matches",
    "simulate_votes",
    "voter",
    "votes_until",
    "win_matrix",
    "write_leaderboard",
]
