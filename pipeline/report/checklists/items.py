"""The items of the checklists, paraphrased, and which evidence of a store answers each.

    CLAIM 2024    44 items, Tejani and others, Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300
    STARD-AI      40 items, Nature Medicine 2025, doi 10.1038/s41591-025-03953-8
    TRIPOD+AI     27 items, BMJ 2024, doi 10.1136/bmj-2023-078378
    QUADAS-2      questions, Whiting and others, Annals 2011, doi 10.7326/0003-4819-155-8-201110180-00009
    PROBAST+AI    questions of the evaluation part, BMJ 2025, doi 10.1136/bmj-2024-082505

Which items of STARD-AI and TRIPOD+AI ask the same as one of CLAIM is a reading of this project: check it against the
originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["automatic", "partly", "author"]
"""Whether a run fills an item, a part of it, or only people can."""


@dataclass(frozen=True)
class Topic:
    """One thing that the checklists ask for."""

    asks: str
    """In our words."""
    kind: Kind
    evidence: tuple[str, ...] = ()
    """Names in `pipeline.report.checklists.evidence`; all that has something to say is shown."""
    claim: str = ""
    """Items, as `7, 9`."""
    stard: str = ""
    tripod: str = ""


TOPICS: tuple[Topic, ...] = (
    Topic("Says in title or abstract that it is a study of AI, and of which kind", "author", (), "1", "1", "1"),
    Topic("Summary of design, methods, results and conclusions", "author", (), "2", "2", "2"),
    Topic("Background, intended use and role in care", "author", (), "3", "3", "3a, 3b"),
    Topic("Aims and hypotheses", "author", (), "4", "4", "4"),
    Topic("Prospective or retrospective", "author", (), "5", "5"),
    Topic("Kind of study and its goal; ethics and consent", "author", (), "6", "6", "17"),
    Topic("Where the data come from, when, which sites", "partly", ("sources",), "7", "9, 11", "5a, 5b, 6a"),
    Topic("Rules of inclusion and exclusion, in order", "automatic", ("selection",), "8", "7", "6b"),
    Topic("How images were prepared", "automatic", ("preprocessing",), "9", "14", "7, 12b"),
    Topic("Which part of the data was taken", "automatic", ("selection", "primary"), "10", "8"),
    Topic("How identity was removed", "partly", ("identity",), "11"),
    Topic("How missing data and failures were handled", "automatic", ("missing",), "12", "19, 20", "11, 20b, 27a"),
    Topic("How images were acquired", "automatic", ("acquisition",), "13", "13"),
    Topic("What the reference standard is", "author", ("annotation",), "14", "16a, 16b", "8a"),
    Topic("Why that reference standard", "author", (), "15", "16c"),
    Topic("Who annotated, with what experience", "partly", ("annotation",), "16", "12", "8b"),
    Topic("How the test set was annotated", "partly", ("annotation", "references"), "17"),
    Topic("Variation between and within readers", "partly", ("readers", "one_reader"), "18"),
    Topic("Whether test and reference were read blind", "author", ("annotation",), "", "17a, 17b", "8c, 9b"),
    Topic("How data were assigned to parts", "partly", ("parts",), "19", "15b", "12a"),
    Topic("At which level the parts have nothing in common", "automatic", ("disjoint",), "20"),
    Topic("Sample size and what it is based on", "partly", ("precision",), "21", "22", "10"),
    Topic("The model and its threshold", "automatic", ("models", "threshold"), "22", "15a, 15c", "12c, 12g, 15, 22"),
    Topic("Software and hardware", "automatic", ("software",), "23", "", "18f"),
    Topic("How the parameters of the model were set at first", "partly", ("training",), "24"),
    Topic("How the model was trained", "author", ("training",), "25", "", "12d"),
    Topic("How the final model was chosen", "author", (), "26", "", "13"),
    Topic("Ensembles", "author", ("ensemble",), "27"),
    Topic("Which measures of performance", "automatic", ("metrics",), "28", "18", "12e"),
    Topic("How uncertainty was measured", "automatic", ("intervals",), "29", "30"),
    Topic("Robustness: other rules, thresholds, strata", "automatic", ("robustness",), "30", "21", "14"),
    Topic("Explaining what the model does", "author", (), "31"),
    Topic("Results inside the source of the training data", "automatic", ("internal",), "32", "", "16"),
    Topic("Results outside it", "automatic", ("external",), "33", "29", "20c"),
    Topic("Registration", "author", (), "34", "36", "18b"),
    Topic("Flow of patients, studies and series, with reasons", "automatic", ("flow",), "35", "24", "20a, 21"),
    Topic("Who is in each part: age, sex, disease", "partly", ("case_mix",), "36", "25, 26a, 26b, 28"),
    Topic("Performance with uncertainty", "automatic", ("performance",), "37", "31", "23a"),
    Topic("Diagnostic accuracy and its precision", "automatic", ("accuracy",), "38"),
    Topic("What went wrong: missed and falsely called", "automatic", ("errors",), "39", "23"),
    Topic("Differences between subgroups, and whether they are fair", "partly", ("subgroups",), "", "35", "3c"),
    Topic("Differences between sites", "automatic", ("sites",), "", "", "23b"),
    Topic("Time between index test and reference standard", "author", (), "", "27"),
    Topic("Limits of the study", "author", (), "40", "32", "26"),
    Topic("What it means for practice", "author", (), "41", "33, 34", "25"),
    Topic("Where protocol and technical details are", "partly", ("recipes",), "42", "37", "18c"),
    Topic("Whether software, model and data can be had", "partly", ("audit",), "43", "40a, 40b", "18d, 18e"),
    Topic("Funding, conflicts, people who took part in the design", "author", (), "44", "38, 39", "18a, 19, 24, 27"),
    Topic("How the index test is carried out", "partly", ("models",), "", "10", "9a"),
    Topic("How the model is to be used, and by whom", "author", (), "", "", "9c"),
)  # fmt: skip
"""In the order of CLAIM 2024."""


@dataclass(frozen=True)
class Question:
    """A question of a tool that judges the risk of bias; only the evidence is given, never the answer."""

    number: str
    asks: str
    evidence: tuple[str, ...] = ()


QUADAS: tuple[Question, ...] = (
    Question("1", "Were consecutive patients, or a random sample, enrolled?", ("sources",)),
    Question("2", "Was a case-control design avoided?", ("prevalence",)),
    Question("3", "Were inappropriate exclusions avoided?", ("selection", "missing")),
    Question("4", "Was the index test blind to the reference, its threshold set before?", ("threshold",)),
    Question("5", "Is the reference standard likely to be right?", ("annotation", "readers")),
    Question("6", "Was the reference standard read without knowledge of the index test?", ("annotation",)),
    Question("7", "Was the time between the two appropriate?"),
    Question("8", "Did all patients receive the reference standard, and the same one?", ("references",)),
    Question("9", "Were all patients in the analysis?", ("flow", "missing")),
)  # fmt: skip
"""QUADAS-2."""

PROBAST: tuple[Question, ...] = (
    Question("1.1", "Were the data sources and the design appropriate?", ("sources",)),
    Question("1.2", "Were inclusions and exclusions appropriate?", ("selection",)),
    Question("1.3", "Do the data represent where the model is to be used?", ("case_mix",)),
    Question("2.1", "Were predictors defined alike for all?", ("acquisition",)),
    Question("2.2", "Were images prepared alike for all?", ("preprocessing",)),
    Question("2.3", "Were predictors assessed without knowledge of the outcome?"),
    Question("2.4", "Are predictors there when the model is to be used?"),
    Question("3.1", "Was the outcome defined well, and alike for all?", ("annotation",)),
    Question("3.2", "Was the outcome determined without knowledge of the predictors?", ("annotation",)),
    Question("3.3", "Was the time between predictors and outcome appropriate?"),
    Question("4.1", "Was more than apparent performance evaluated?", ("internal", "external")),
    Question("4.2", "Were there enough cases with the outcome?", ("precision",)),
    Question("4.3", "Were missing and failed data handled appropriately?", ("missing",)),
    Question("4.4", "Was imbalance left as it is, or corrected for?", ("prevalence",)),
    Question("4.5", "Was leakage between parts avoided?", ("disjoint",)),
    Question("4.6", "Did resampling repeat every step? (internal evaluation)", ("parts",)),
    Question("4.7", "Were the measures of performance appropriate?", ("metrics",)),
)
"""PROBAST+AI, evaluation part: to be answered for apparent, internal and external evaluation apart."""
