"""The applied model card of the Coalition for Health AI: its entries, in our own words.

The number of an entry is its place in the published schema, version 0.2, by which `chai_xml`
writes it: github.com/coalition-for-health-ai/mc-schema.
"""

from __future__ import annotations

from cxr_transfer.reports.checklist import Checklist, Item

_NEEDS_AUTHOR = "why this figure, and what would be good enough"


def _metric(
    element: str, topic: str, facts: tuple[str, ...], tested: tuple[str, ...]
) -> tuple[Item, ...]:
    """Return the entries of one group of key metrics."""
    place, section = f"KeyMetrics/{element}", f"Key metrics: {topic}"
    return (
        Item(f"{place}/MetricGoal", section, "What is to be reached", author="the goal"),
        Item(f"{place}/Results", section, "What was reached", facts),
        Item(f"{place}/Interpretation", section, "What that means", author="the interpretation"),
        Item(f"{place}/TestType", section, "Kind of test", tested),
        Item(f"{place}/TestingDataDescription", section, "Images of the test",
             (*tested, "data.classes")),
        Item(f"{place}/ValidationProcessAndJustification", section, "How it was validated",
             ("figures.intervals",), _NEEDS_AUTHOR),
    )  # fmt: skip


ITEMS = (
    Item("BasicInfo/ModelName", "Basics", "Name of the model", ("model.name",)),
    Item("BasicInfo/ModelDeveloper", "Basics", "Who made it", author="the developer"),
    Item("BasicInfo/DeveloperContact", "Basics", "Whom to ask", author="a contact"),
    Item("ReleaseInfo/ReleaseStage", "Release", "Stage", author="the stage of the release"),
    Item("ReleaseInfo/ReleaseDate", "Release", "Day on which it was made", ("model.made",)),
    Item("ReleaseInfo/ReleaseVersion", "Release", "Version",
         ("model.weights", "training.commit")),
    Item("ReleaseInfo/GlobalAvailability", "Release", "Where it can be had",
         author="where it may be used"),
    Item("ReleaseInfo/RegulatoryApproval", "Release", "Approval",
         author="approval by a regulator, or that there is none"),
    Item("ModelSummary/Summary", "Summary", "The model in brief",
         ("model.architecture", "model.output", "data.name")),
    Item("ModelSummary/Keywords", "Summary", "Keywords", ("model.output",)),
    Item("UsesAndDirections/IntendedUseAndWorkflow", "Uses", "Intended use",
         author="the intended use and its place in the work"),
    Item("UsesAndDirections/PrimaryIntendedUsers", "Uses", "Who is to use it", author="the users"),
    Item("UsesAndDirections/HowToUse", "Uses", "How to use it",
         ("model.input", "model.output", "model.scale"), "directions for users"),
    Item("UsesAndDirections/TargetedPatientPopulation", "Uses", "For which patients",
         ("data.demographics",), "the patients that it is for"),
    Item("UsesAndDirections/CautionedOutOfScopeSettings", "Uses", "Where not to use it",
         ("model.abstention",), "settings in which it must not be used"),
    Item("Warnings/KnownRisksAndLimitations", "Warnings", "Known limits",
         ("data.source_of_class", "audit.failed"), "risks in use"),
    Item("Warnings/KnownBiasesOrEthicalConsiderations", "Warnings", "Known bias",
         ("figures.gaps",), "ethical considerations"),
    Item("Warnings/ClinicalRiskLevel", "Warnings", "Level of risk", author="the level of risk"),
    Item("TrustIngredients/AISystemFacts/OutcomesAndOutputs", "System", "What it gives",
         ("model.output", "model.scale")),
    Item("TrustIngredients/AISystemFacts/ModelType", "System", "Kind of model",
         ("model.architecture",)),
    Item("TrustIngredients/AISystemFacts/FoundationModels", "System", "What it started from",
         ("training.initial",)),
    Item("TrustIngredients/AISystemFacts/InputDataSource", "System", "Source of its input",
         ("data.sources",), "where images come from in use"),
    Item("TrustIngredients/AISystemFacts/OutputAndInputDataTypes", "System",
         "Types of input and output", ("model.input", "model.output")),
    Item("TrustIngredients/AISystemFacts/DevelopmentDataCharacterization", "System",
         "Images that it learnt from", ("data.sources", "data.classes", "data.counts")),
    Item("TrustIngredients/AISystemFacts/BiasMitigationApproaches", "System",
         "What was done against bias", ("training.imbalance",), "what else was done"),
    Item("TrustIngredients/AISystemFacts/OngoingMaintenance", "System", "Upkeep",
         author="how it is watched and kept up"),
    Item("TrustIngredients/AISystemFacts/Security", "System", "Security",
         author="security of the place where it runs"),
    Item("TrustIngredients/AISystemFacts/Transparency", "System", "Openness",
         ("model.weights", "training.commit", "data.hash")),
    Item("TrustIngredients/TransparencyInformation/FundingSource", "Transparency", "Who paid",
         author="funding"),
    Item("TrustIngredients/TransparencyInformation/ThirdPartyInformation", "Transparency",
         "Parts of others", ("model.licence", "training.software")),
    Item("TrustIngredients/TransparencyInformation/StakeholdersConsulted", "Transparency",
         "Who was asked", author="who was consulted"),
    *_metric("UsefulnessUsabilityEfficacy", "usefulness",
             ("figures.performance", "figures.by_class"), ("figures.internal",)),
    *_metric("FairnessEquity", "fairness", ("figures.subgroups", "figures.gaps"),
             ("figures.internal",)),
    *_metric("SafetyReliability", "safety", ("audit.robustness", "validation.worst"),
             ("audit.verdict",)),
    Item("Resources/EvaluationReferences", "Resources", "Evaluations",
         author="references to evaluations"),
    Item("Resources/ClinicalTrial", "Resources", "Trials", author="trials, or that there are none"),
    Item("Resources/PeerReviewedPublications", "Resources", "Publications",
         author="publications, or that there are none"),
    Item("Resources/ReimbursementStatus", "Resources", "Payment", author="reimbursement"),
    Item("Resources/PatientConsentOrDisclosure", "Resources", "Consent of patients",
         author="consent, or disclosure to patients"),
    Item("Bibliography", "Bibliography", "References", author="the references"),
)  # fmt: skip

CHAI = Checklist(
    "chai",
    "CHAI applied model card",
    "Coalition for Health AI, applied model card, schema 0.2",
    ITEMS,
    "An entry's number is its place in the published schema. The wording is ours. chai.xml beside "
    "this page is the card in the form of the schema.",
)
