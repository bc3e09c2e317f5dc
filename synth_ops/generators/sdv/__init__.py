"""SDV's models (https://sdv.dev), each in a process of its own: copula, GAN, VAE, sequences, small schemas.

SDV is under the Business Source License 1.1. What it learns from is coded first (`columns`), so that no model holds a
value that fewer than k subjects share; keys, persons and texts are made by our own providers. Nothing here imports SDV
before a worker fits or samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from synth_ops.artifacts import Snapshot
from synth_ops.generators.coded_table.settings import Training, batches, distribution, positive, rates, whole, widths
from synth_ops.metadata import Metadata
from synth_ops.ports import FittedGenerator, ProgressListener

if find_spec("sdv") is None:
    raise ModuleNotFoundError("No module named 'sdv'", name="sdv")


class SingleTable:
    """What SDV's models of one table have in common."""

    version = "4"
    single_table: ClassVar[bool] = True
    own_process: ClassVar[bool] = True
    licence: ClassVar[str] = "SDV: Business Source License 1.1, which forbids to offer it to others as a service"
    synthesizer: ClassVar[str]

    def __init__(self, parameters: Mapping[str, Any], training: Training | None = None) -> None:
        self._parameters, self._training = dict(parameters), training

    def problems(self, snapshot: Snapshot) -> list[str]:
        """Why it can't learn a snapshot: several tables, or more categories than memory holds."""
        from synth_ops.generators.sdv.single import problems

        return problems(self._training, snapshot)

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn the one table of a snapshot.

        Raises:
            FitError: There are several, or this one can't be learned.
        """
        from synth_ops.generators.sdv.single import fit

        fit(self.synthesizer, self._parameters, self._training, snapshot, folder, progress)

    def load(self, folder: Path, metadata: Metadata) -> FittedGenerator:
        """Load what `fit` wrote; in a worker only, since the model is a pickle."""
        from synth_ops.generators.sdv.single import FittedTable

        return FittedTable(folder, metadata)


class GaussianCopula(SingleTable):
    """A Gaussian copula: every column's distribution, and the correlations between them. Seconds on a CPU.

    Args:
        default_distribution: Of numbers: `beta`, `gamma`, `norm`, `truncnorm` or `uniform`.

    Raises:
        RecipeError: There is no such distribution.
    """

    synthesizer = "GaussianCopulaSynthesizer"

    def __init__(self, *, default_distribution: str = "beta") -> None:
        super().__init__({"default_distribution": distribution("sdv.gaussian_copula", default_distribution)})


class CTGAN(SingleTable):
    """A conditional generative adversarial network (Xu et al., NeurIPS 2019). Minutes to hours on a CPU.

    Args:
        epochs: Passes over the table, at most.
        max_minutes: Training ends after the last epoch that fits in; its best state is kept, in any case.
        max_memory_gb: It is refused where it would need more.
        cuda: Whether a GPU is used, if torch sees one.
        batch_size: Rows a step; when left out, 500, and fewer in small tables, so that an epoch is of 20 steps.
        pac, discriminator_steps: Rows judged at once; steps of the judge for one of the maker.
        embedding_dim, generator_dim, discriminator_dim: Widths of noise and layers.
        generator_lr, discriminator_lr: Learning rates.

    Raises:
        RecipeError: One of them can't be.
    """

    synthesizer = "CTGANSynthesizer"
    _name: ClassVar[str] = "sdv.ctgan"

    def __init__(  # noqa: PLR0913  what can be set, by name
        self,
        *,
        epochs: int = 300,
        max_minutes: float | None = None,
        max_memory_gb: float | None = None,
        cuda: bool = True,
        batch_size: int | None = None,
        pac: int = 10,
        discriminator_steps: int = 1,
        embedding_dim: int = 128,
        generator_dim: Sequence[int] = (256, 256),
        discriminator_dim: Sequence[int] = (256, 256),
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
    ) -> None:
        name = self._name
        parameters = {
            **batches(name, batch_size, pac),
            **rates(name, generator_lr=generator_lr, discriminator_lr=discriminator_lr),
            "discriminator_steps": whole(name, "discriminator_steps", discriminator_steps),
            "embedding_dim": whole(name, "embedding_dim", embedding_dim),
            "generator_dim": widths(name, "generator_dim", generator_dim),
            "discriminator_dim": widths(name, "discriminator_dim", discriminator_dim),
            "cuda": bool(cuda),
        }
        epochs = whole(name, "epochs", epochs)
        super().__init__(parameters, Training(epochs=epochs, minutes=max_minutes, memory_gb=max_memory_gb))


class CopulaGAN(CTGAN):
    """CTGAN on columns that a copula made normal first. Settings as of `CTGAN`, and `default_distribution`."""

    synthesizer = "CopulaGANSynthesizer"
    _name = "sdv.copulagan"

    def __init__(self, *, default_distribution: str = "beta", **settings: Any) -> None:
        super().__init__(**settings)
        self._parameters["default_distribution"] = distribution(self._name, default_distribution)


class TVAE(SingleTable):
    """A variational autoencoder for tables (Xu et al., NeurIPS 2019). Minutes on a CPU.

    Args:
        epochs: Passes over the table, at most.
        max_minutes: Training ends after the last epoch that fits in; its best state is kept, in any case.
        max_memory_gb: It is refused where it would need more.
        cuda: Whether a GPU is used, if torch sees one.
        batch_size: Rows a step; when left out, 500, and fewer in small tables, so that an epoch is of 20 steps.
        embedding_dim, compress_dims, decompress_dims: Widths of the code and of the layers to and from it.
        l2scale, loss_factor: Of the penalty on weights, and of the loss of reconstruction.

    Raises:
        RecipeError: One of them can't be.
    """

    synthesizer = "TVAESynthesizer"

    def __init__(  # noqa: PLR0913  what can be set, by name
        self,
        *,
        epochs: int = 300,
        max_minutes: float | None = None,
        max_memory_gb: float | None = None,
        cuda: bool = True,
        batch_size: int | None = None,
        embedding_dim: int = 128,
        compress_dims: Sequence[int] = (128, 128),
        decompress_dims: Sequence[int] = (128, 128),
        l2scale: float = 1e-5,
        loss_factor: float = 2.0,
    ) -> None:
        name = "sdv.tvae"
        parameters = {
            "batch_size": None if batch_size is None else whole(name, "batch_size", batch_size, least=2),
            "embedding_dim": whole(name, "embedding_dim", embedding_dim),
            "compress_dims": widths(name, "compress_dims", compress_dims),
            "decompress_dims": widths(name, "decompress_dims", decompress_dims),
            "l2scale": positive(name, "l2scale", l2scale),
            "loss_factor": positive(name, "loss_factor", loss_factor),
            "cuda": bool(cuda),
        }
        epochs = whole(name, "epochs", epochs)
        super().__init__(parameters, Training(epochs=epochs, minutes=max_minutes, memory_gb=max_memory_gb))


class PAR:
    """A probabilistic autoregressive model of sequences: readings, visits, purchases. Minutes on a CPU.

    The rows of a parent are a sequence, in the order that the frame finds; it makes their columns, each row from those
    before it. How long sequences are, and when, is the frame's; what depends on the parent's columns is not learned.

    Args:
        epochs: Passes over the sequences, at most.
        max_minutes: Training ends after the last epoch that fits in.
        sequences: How many it learns from, at most; drawn at random, of each the first hundred rows.
        cuda: Whether a GPU is used, if torch sees one.

    Raises:
        RecipeError: One of them can't be.
    """

    version = "2"
    single_table: ClassVar[bool] = True
    sequences: ClassVar[bool] = True
    own_process: ClassVar[bool] = True
    licence: ClassVar[str] = SingleTable.licence

    def __init__(
        self, *, epochs: int = 128, max_minutes: float | None = None, sequences: int = 500, cuda: bool = True
    ) -> None:
        self._training = Training(epochs=whole("sdv.par", "epochs", epochs), minutes=max_minutes)
        self._most, self._cuda = whole("sdv.par", "sequences", sequences), bool(cuda)

    def problems(self, snapshot: Snapshot) -> list[str]:
        """Why it can't learn a snapshot: there is nothing that would tell sequences apart."""
        from synth_ops.generators.coded_table.problems import sequence_problems

        return sequence_problems(snapshot.metadata)

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn the one table of a snapshot, whose one id column says which sequence a row is of.

        Raises:
            FitError: There is none, or it can't be learned.
        """
        from synth_ops.generators.sdv.par import fit

        fit(self._training, self._most, self._cuda, snapshot, folder, progress)

    def load(self, folder: Path, metadata: Metadata) -> FittedGenerator:
        """Load what `fit` wrote; in a worker only, since the model is a pickle."""
        from synth_ops.generators.sdv.par import FittedSequences

        return FittedSequences(folder, metadata)


class HMA:
    """SDV's hierarchical model: at most five tables, in chains of two, in memory; minutes for thousands of rows."""

    version = "2"
    own_process: ClassVar[bool] = True
    licence: ClassVar[str] = SingleTable.licence

    def problems(self, snapshot: Snapshot) -> list[str]:
        """What of a schema it can't learn, known before it tries."""
        from synth_ops.generators.coded_table.problems import hma_problems

        return hma_problems(snapshot.metadata)

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn a small schema.

        Raises:
            FitError: It is too large, has keys that HMA does not take, or can't be learned.
        """
        from synth_ops.generators.sdv.hma import fit

        fit(snapshot, folder, progress)

    def load(self, folder: Path, metadata: Metadata) -> FittedGenerator:
        """Load what `fit` wrote; in a worker only, since the model is a pickle."""
        from synth_ops.generators.sdv.hma import FittedSchema

        return FittedSchema(folder, metadata)
