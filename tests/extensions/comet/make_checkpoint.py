"""Makes a tiny COMET model; run by the python of COMET's environment: `python make_checkpoint.py FOLDER CLASS`.

CLASS is COMET's class_identifier. A sentencepiece model is trained on a few sentences, a 2-layer XLM-R of width 32 and
the estimator get random weights from a fixed seed, and what `Trainer.save_checkpoint` would write is written.
"""

import sys
from pathlib import Path

import sentencepiece
import torch
import yaml
from comet.models import str2model
from pytorch_lightning import Trainer
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

SENTENCES = (
    "Praha je hlavní město České republiky a leží na řece Vltavě.",
    "Děti šly ráno do školy, protože začínal nový rok.",
    "Le garçon a mangé une pomme rouge près de la forêt.",
    "L'été dernier, nous avons visité Paris, la capitale de la France.",
    "The quick brown fox jumps over the lazy dog.",
    "She opened the window and the cold air came in; the book was on the table.",
)


def make(folder: Path, kind: str, layers: str = "softmax") -> None:
    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    text = folder / "text.txt"
    text.write_text("\n".join(SENTENCES * 5), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(encoder / "sentencepiece.bpe"), vocab_size=100, minloglevel=2
    )
    tokenizer = XLMRobertaTokenizerFast(vocab_file=str(encoder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(encoder)
    torch.manual_seed(7)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer) + 8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
        initializer_range=0.5,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(encoder)
    more = {"input_segments": ["mt", "src"], "sent_layer": "mix"} if kind == "unified_metric" else {}
    model = str2model[kind](
        pretrained_model=str(encoder),
        hidden_sizes=[16],
        layer_transformation=layers,
        local_files_only=True,
        nr_frozen_epochs=0.0,
        **more,
    )
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, max_epochs=0)
    trainer.strategy.connect(model)
    (folder / "checkpoints").mkdir()
    trainer.save_checkpoint(folder / "checkpoints" / "model.ckpt", weights_only=False)
    hparams = {"class_identifier": kind, "pretrained_model": str(encoder), "layer_transformation": layers}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), *sys.argv[2:])
