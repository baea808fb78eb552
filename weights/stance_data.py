"""Names that other scripts of this folder take from here; the code is `weighup.train.stance.data`."""

from weighup.train.stance.data import held_out as held_out
from weighup.train.stance.data import rows as rows
