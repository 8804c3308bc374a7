"""Validation that looks at the CAMs too."""

from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop


@LOOPS.register_module()
class CAMValLoop(ValLoop):
    """mmengine's `ValLoop`, with predictions that carry CAMs; testing and inference stay free of that work.

    Args:
        runner: The runner.
        dataloader: Of the validation set.
        evaluator: Metrics, such as `CAMIoUMetric`.
        pseudo_label: Make the refined pseudo-labels as well.
        fp16: Validate in half precision.
    """

    def __init__(self, runner, dataloader, evaluator, pseudo_label: bool = False, fp16: bool = False) -> None:  # type: ignore[no-untyped-def]
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self.pseudo_label = pseudo_label

    def run(self) -> dict:
        """Validate once and return the metrics."""
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        with model.predicting_cams(pseudo_label=self.pseudo_label):
            return super().run()
