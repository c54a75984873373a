"""Every recogniser keeps the contract."""

from tests.contracts_recognizer import *  # noqa: F403
from tests.contracts_recognizer import pytestmark as pytestmark
