"""What `mypy --strict` refuses: a line with a comment is an error of that kind."""

from skvardict import SparseVAE, VarianceDictionaryLearning
from skvardict.networks import LISTA


def main() -> None:
    VarianceDictionaryLearning(n_components="many")  # arg-type
    VarianceDictionaryLearning(n_atoms=3)  # call-arg
    SparseVAE(prior=3)  # arg-type
    LISTA(n_iter="three")  # arg-type
    VarianceDictionaryLearning().fit()  # call-arg
    VarianceDictionaryLearning().fit([[0.0]], sample_weight=[1.0])  # call-arg
    SparseVAE().load_modules(decoder="linear")  # arg-type
    VarianceDictionaryLearning().fit([[0.0]]).transform([[0.0]]).relu()  # attr-defined
