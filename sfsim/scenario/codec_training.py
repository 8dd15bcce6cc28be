"""The table of learned codecs' training: their optimiser, when new weights travel, and how they are coded."""

from typing import Annotated, Literal

from pydantic import Field

from sfsim.codec import Cast
from sfsim.declaration import declaration, misfit
from sfsim.learning.declarations import Adam, Optimiser
from sfsim.scenario.parts import Count, ModelCodec

AsPublished = Literal["likelihood-rates", "train-mode-evaluation", "exact-gradients"]


@declaration
class CodecTraining:
    """How the learned codecs of ``[codecs]`` are trained while a run goes on.

    Each minibatch its owner sends with the wire codec, the version that both ends hold, and trains a copy, the
    trainee, on the same tensor. At an update the trainee's weights travel, as messages of kind "codec update"
    that are counted like any other, and the wire codec becomes them.

    Parameters
    ----------
    optimiser : Optimiser
        Of every learned codec.
    entropy_learning_rate : float, optional
        Learning rate of the factorised entropy models' own weights, by default that of `optimiser`. They begin
        very wide (as CompressAI has them), and in a short run that is what rates are made of: ten times the
        optimiser's rate brings them down in about 60 steps.
    clip_norm : float
        Gradients of a codec's weights are scaled down to this norm, as CompressAI's training does: the inverse GDN
        of a decoder multiplies, and one bad step can take it out of all proportion.
    update : {"round", "epoch", "minibatches", "frozen", "ideal"}
        When weights travel: at the beginning of every global round; after every local epoch too, from the owner
        to the receiver; after every `update_every_minibatches` too; once, before the first minibatch, and no
        codec is trained; or never, while both ends share each step free of charge and at once, as published
        code has it.
    update_every_minibatches : int, optional
        For ``update = "minibatches"``, which it implies, also where ``update = "round"`` (the default) is written
        beside it; any other `update` is refused.
    update_codec : ModelCodec
        What the weights travel with; differences (``of = "delta"``) refer to the last weights that the receiver got.
    freeze_after_round : int, optional
        Two phases: after this global round no codec is trained any more.
    freeze_when_settled : float, optional
        Freeze a codec after the first global round in which the mean size of its payloads changed by no more than
        this share against the round before.
    verify : float
        Share of messages that the receiver decodes and compares with the sender's reconstruction; the first of
        each local epoch always is. Others are known to decode to it (the tests decode every one).
    model_loss : {"rate-distortion", "task", "bypass"}
        What the model in front of a codec of smashed data is trained by: rate / lambda + distortion + task, or the
        task alone; the codec itself is trained by all three either way. With "bypass" the gradient of what was decoded
        is taken for that of what was encoded, and the codec is trained by rate and distortion alone (Ayad et al.).
    as_published : list of {"likelihood-rates", "train-mode-evaluation", "exact-gradients"}
        Do as SplitFedZip's published code does, to compare: size messages of learned codecs by the likelihood in
        training mode; evaluate with noise for rounding and with BatchNorm's statistics of the minibatch; let
        exact gradients through, whatever their messages hold. Results say so.
    """

    optimiser: Optimiser = Field(default_factory=lambda: Adam(learning_rate=1e-4))
    entropy_learning_rate: Annotated[float, Field(gt=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    update: Literal["round", "epoch", "minibatches", "frozen", "ideal"] = "round"
    update_every_minibatches: Count | None = None
    update_codec: ModelCodec = Field(default_factory=lambda: ModelCodec(codec=Cast(dtype="float32")))
    freeze_after_round: Count | None = None
    freeze_when_settled: Annotated[float, Field(gt=0, lt=1)] | None = None
    verify: Annotated[float, Field(ge=0, le=1)] = 0.05
    model_loss: Literal["rate-distortion", "task", "bypass"] = "rate-distortion"
    as_published: tuple[AsPublished, ...] = ()

    def __post_init__(self) -> None:
        if self.optimiser.schedule is not None:
            expected = "nothing: learned codecs are trained at one learning rate"
            raise misfit(("optimiser", "schedule"), f"the kind {self.optimiser.schedule.kind!r}", expected)
        if self.update_every_minibatches is not None:
            if self.update not in ("round", "minibatches"):
                raise misfit(
                    "update", repr(self.update), "'minibatches', or nothing, beside update_every_minibatches"
                )
            object.__setattr__(self, "update", "minibatches")
        elif self.update == "minibatches":
            raise misfit("update_every_minibatches", "nothing", "how many, for update = 'minibatches'")
        if self.update == "frozen":
            for key in ("freeze_after_round", "freeze_when_settled"):
                if getattr(self, key) is not None:
                    raise misfit(
                        key, str(getattr(self, key)), "nothing, because update = 'frozen' trains nothing"
                    )

    @property
    def trains(self) -> bool:
        """Whether codecs learn at all."""
        return self.update != "frozen"
