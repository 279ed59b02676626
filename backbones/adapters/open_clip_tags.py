"""What an open_clip tag says of the pretraining: method, data and licence (``laion2b_s34b_b88k``: CLIP on LAION-2B)."""

METHODS: dict[str, str] = {
    "coca": "CoCa",
    "SigLIP2": "SigLIP 2",
    "SigLIP": "SigLIP",
    "siglip": "SigLIP",
    "CLIPA": "CLIPA",
    "EVA": "EVA-CLIP",
    "MobileCLIP2": "MobileCLIP2",
    "MobileCLIP": "MobileCLIP",
    "PE-Core": "Perception Encoder",
    "metaclip2": "MetaCLIP 2",
    "metaclip": "MetaCLIP",
}
"""Marks of a method, looked for in architecture and tag; the first that is there counts, without one it is CLIP."""

DATA: dict[str, str] = {
    "openai": "WIT-400M",
    "laion_aesthetic": "LAION-Aesthetic",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laion5b": "LAION-5B",
    "merged2b": "Merged-2B (LAION-2B, COYO-700M)",
    "datacomp1b": "DataComp-1B",
    "datacomp_xl": "DataComp-1B",
    "datacompdr": "DataCompDR-1B",
    "datacomp_s34b": "DataComp-1B",
    "datacomp_s_": "DataComp small",
    "datacomp_m_": "DataComp medium",
    "datacomp_l_": "DataComp large",
    "commonpool": "CommonPool, filtered",
    "dfndr2b": "DFNDR-2B",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "webli": "WebLI",
    "yfcc15m": "YFCC-15M",
    "cc12m": "CC-12M",
    "metaclip_400m": "MetaCLIP-400M",
    "fullcc": "MetaCLIP-2.5B",
    "altogether": "MetaCLIP-Altogether",
    "worldwide": "MetaCLIP 2 worldwide",
    "mscoco_finetuned": "MS COCO",
}
"""Marks of the data in a tag; several may be there (``mscoco_finetuned_laion2b``)."""

LICENCES: dict[str, str] = {"laion/": "mit", ".openai/": "mit", "timm/ViT-": "apache-2.0"}
"""Licences by a mark of the hub repository: those whose model cards are known to state one (not checked here)."""


def method_of(architecture: str, tag: str) -> str:
    """
    >>> method_of("ViT-B-16-SigLIP2-256", "webli"), method_of("ViT-B-16", "laion2b_s34b_b88k")
    ('SigLIP 2', 'CLIP')
    """
    return next((method for mark, method in METHODS.items() if mark in f"{architecture}/{tag}"), "CLIP")


def data_of(tag: str) -> str:
    """
    >>> data_of("mscoco_finetuned_laion2b_s13b_b90k"), data_of("v1")
    ('LAION-2B, MS COCO', 'unknown')
    """
    return ", ".join(name for mark, name in DATA.items() if mark in tag) or "unknown"


def licence_of(repository: str) -> str:
    """
    >>> licence_of("laion/CLIP-ViT-B-16-laion2B-s34B-b88K/"), licence_of("apple/DFN5B-CLIP-ViT-H-14/")
    ('mit', 'unknown')
    """
    return next((licence for mark, licence in LICENCES.items() if mark in repository), "unknown")
