from shapley import Shapley

from selection.contract import StrategyContract


class TestShapley(StrategyContract):
    def make(self) -> Shapley:
        return Shapley()
