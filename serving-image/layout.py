"""Where the serving side keeps what it builds, said once for the installer, the trainer, the starter and the tests."""

from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
DEFAULT_CACHE = SOURCES.parent / ".cache" / "serving"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one build folder; nothing here is ever committed."""

    cache: Path = DEFAULT_CACHE

    @property
    def venv(self) -> Path:
        """The server's own environment: torch, numpy 1, the Triton binary."""
        return self.cache / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of that environment."""
        return self.venv / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Its packages. Raises FileNotFoundError while it is not installed."""
        found = sorted(self.venv.glob("lib/python3.*/site-packages"))
        if not found:
            raise FileNotFoundError(f"{self.venv} has no packages yet: run `python3 serving-image/install.py`")
        return found[0]

    @property
    def tritonserver(self) -> Path:
        """The server binary out of the nvidia-pytriton wheel."""
        return self.site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """Triton's --backend-directory."""
        return self.cache / "backends"

    @property
    def tritonserver_links(self) -> Path:
        """The Python backend's files, linked together where Triton looks for them."""
        return self.backends / "python"

    @property
    def libraries(self) -> Path:
        """Holds a link to libpython and nothing else, so that LD_LIBRARY_PATH shadows no other library."""
        return self.cache / "lib"

    @property
    def trained(self) -> Path:
        """What training/train.py writes: weights/, held_out.npz, validation.npz, report.json."""
        return self.cache / "trained"

    @property
    def held_out(self) -> Path:
        """`images` float32 [719, 64], `labels` int64 [719], and each model's own probabilities float32 [719, 10]."""
        return self.trained / "held_out.npz"

    @property
    def validation(self) -> Path:
        """The same for the 359 rows on which thresholds may be chosen."""
        return self.trained / "validation.npz"

    @property
    def report(self) -> Path:
        """Accuracy, parameters and microseconds per row of each model, and the cascade chosen on validation rows."""
        return self.trained / "report.json"

    @property
    def repository(self) -> Path:
        """Triton's --model-repository, assembled."""
        return self.cache / "model_repository"
