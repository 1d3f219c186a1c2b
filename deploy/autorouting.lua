-- What comes in as CR or DX goes to the node; its answers have other modalities.
function OnStoredInstance(instance, tags, metadata, origin)
  if tags["Modality"] == "CR" or tags["Modality"] == "DX" then
    SendToModality(instance, "cxr")
  end
end
