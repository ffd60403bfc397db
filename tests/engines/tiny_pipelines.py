"""Diffusion pipelines as small as they can be: a real architecture, random weights, 300 kB."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIDE = 64
"""Pixels of the square that they "learned" on."""


def save_inpaint(folder: Path) -> Path:
    """Paints where a mask says: latents, mask and masked latents make 9 channels."""
    return _save(StableDiffusionInpaintPipeline, folder, channels=9, scheduler=_ddim())


def save_words_only(folder: Path) -> Path:
    """Makes pictures of words alone, and knows no masks."""
    return _save(StableDiffusionPipeline, folder, channels=4, scheduler=_ddim())


def _ddim() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False
    )


def save_edit(folder: Path) -> Path:
    """Follows an instruction: latents and those of the picture make 8 channels."""
    scheduler = EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear")
    return _save(StableDiffusionInstructPix2PixPipeline, folder, channels=8, scheduler=scheduler)


def _save(kind: Any, folder: Path, *, channels: int, scheduler: Any) -> Path:
    torch.manual_seed(0)
    pipeline = kind(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
        ),
        unet=UNet2DConditionModel(
            sample_size=SIDE // 2,
            in_channels=channels,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(_vocabulary()),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=512,
                eos_token_id=513,
                pad_token_id=513,
            )
        ),
        tokenizer=_tokenizer(folder.with_name(f"{folder.name}-words")),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def _vocabulary() -> dict[str, int]:
    """CLIP's, before the first merge: every byte, in a word and at its end, and two marks."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [chr(256 + n) for n in range(256 - len(printable))]
    letters = [*map(chr, printable), *others]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    return {
        word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])
    }


def _tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)
