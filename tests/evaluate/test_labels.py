"""Labels of sentences as radiologists write them: one row a sentence, ``+`` present, ``-`` absent, ``?`` uncertain, ``0`` not mentioned."""

from __future__ import annotations

import pytest

from radvlm.evaluate.labels import label_report

KINDS = """
No pleural or pericardial effusion. :: -pleural_effusion -pericardial_effusion
Pericardial effusion-thickening was not observed. :: -pericardial_effusion
No pneumothorax, small left pleural effusion. :: -pneumothorax +pleural_effusion
No focal consolidation, large effusion, or pneumothorax. :: -consolidation -pleural_effusion -pneumothorax
There is no pneumothorax and there is a moderate right effusion. :: -pneumothorax +pleural_effusion
There is a 5 mm nodule in the right upper lobe, pleural effusion was not observed. :: +lung_nodule -pleural_effusion
Without pleural effusion but with mild bibasilar atelectasis. :: -pleural_effusion +atelectasis
The lungs are free of consolidation, mass or nodule. :: -consolidation -lung_mass -lung_nodule
Negative for pulmonary embolism. :: -pulmonary_embolism
Previously seen right pleural effusion has resolved. :: -pleural_effusion
Interval resolution of the left pleural effusion. :: -pleural_effusion
Pulmonary embolism is ruled out. :: -pulmonary_embolism
Pneumonia cannot be excluded. :: ?pneumonia
Cannot exclude a small left pneumothorax. :: ?pneumothorax
No significant interval change in the 6 mm left lower lobe nodule. :: +lung_nodule
No change in size of the known hepatic cysts. :: +liver_cyst
Not only atelectasis but also consolidation is seen in the left lower lobe. :: +atelectasis +consolidation
Status post cholecystectomy. :: +cholecystectomy -gallstone~0
History of pneumonia. :: 0pneumonia
Bibasilar opacities may represent atelectasis or aspiration. :: +opacity ?atelectasis
Findings suspicious for metastatic disease. :: ?metastasis
Possible tiny gallstone. :: ?gallstone
Questionable filling defect in a right lower lobe segmental pulmonary artery. :: ?pulmonary_embolism
Liver: Unremarkable. :: -hepatic_steatosis -hepatomegaly
Gallbladder: Surgically absent. :: +cholecystectomy
Gallbladder: Cholelithiasis without evidence of cholecystitis. :: +gallstone -cholecystitis
Spleen: Enlarged, measuring 15.2 cm. :: +splenomegaly
Pleural effusion: None. :: -pleural_effusion
Hydronephrosis: mild, left. :: +hydronephrosis
Lymphadenopathy: Absent :: -lymphadenopathy
Free air - none :: -pneumoperitoneum
The heart and liver are enlarged. :: +cardiomegaly +hepatomegaly
Heart size is normal, but the ascending aorta is dilated at 4.3 cm. :: -cardiomegaly +thoracic_aortic_dilatation
The spleen is not enlarged. :: -splenomegaly
Spleen is normal in size. :: -splenomegaly
The common bile duct is dilated to 11 mm with intrahepatic biliary ductal dilatation. :: +biliary_dilatation
No intra- or extrahepatic biliary ductal dilatation. :: -biliary_dilatation
The intrahepatic and extrahepatic bile ducts are not dilated. :: -biliary_dilatation
Calcified atheroma plaques are observed in the aorta and coronary arteries. :: +coronary_calcification +atherosclerosis
Coronary artery and aortic calcifications. :: +coronary_calcification +arterial_calcification
Dense calcifications of the aortic valve leaflets. :: +aortic_valve_calcification
There is calcification of the mitral annulus. :: +mitral_calcification 0aortic_valve_calcification
2.3 x 1.8 cm hypodense lesion in segment VI of the liver (cyst?). :: +liver_lesion ?liver_cyst
Multiple subcentimeter hypodensities in both kidneys, too small to characterize. :: +kidney_hypodensity
Simple cyst arising from the upper pole of the left kidney measuring 3.1 cm. :: +kidney_cyst
Bilateral renal cysts. No hydronephrosis or nephrolithiasis. :: +kidney_cyst -hydronephrosis -kidney_stone
A 4 mm nonobstructing calculus in the lower pole of the right kidney. :: +kidney_stone
Obstructing 6 mm stone at the left UVJ with moderate hydroureteronephrosis. :: +ureter_stone +hydronephrosis
No renal calculi or hydronephrosis bilaterally. :: -kidney_stone -hydronephrosis
NO EVIDENCE OF PE. SMALL RT EFFUSION W/ ADJACENT ATELECTASIS :: -pulmonary_embolism +pleural_effusion +atelectasis
MILD CARDIOMEGALY. NO PERICARDIAL EFFUSION. :: +cardiomegaly -pericardial_effusion
Mild oedema of the subcutaneous tissues in keeping with anasarca. :: +anasarca
Oesophageal hiatus hernia noted. :: +hiatal_hernia
Small sliding-type hiatal hernia. :: +hiatal_hernia
Hepatic haemangioma in segment 7 is unchanged. :: +liver_hemangioma
Tumour in the head of the pancreas with upstream pancreatic duct dilatation. :: +pancreatic_mass +pancreatic_duct_dilatation
GGO in the RUL and RLL. :: +ground_glass
Several enlarged LNs in the mediastinum, the largest 1.6 cm. :: +lymphadenopathy
No pathologically enlarged mediastinal, hilar or axillary lymph nodes. :: -lymphadenopathy
No mediastinal or hilar adenopathy. :: -lymphadenopathy
Scattered subcentimeter mediastinal lymph nodes, not enlarged by size criteria. :: -lymphadenopathy
Mildly prominent retroperitoneal lymph nodes. :: +lymphadenopathy
Left paraaortic lymph node measures 14 mm in short axis. :: +lymph_node
S/p CABG w/ sternotomy wires. :: +device
Right IJ central venous catheter terminates in the SVC. :: +device
Endotracheal tube tip is 3 cm above the carina. :: +device
IVC filter in place. :: +device
Administered contrast material was adequate. :: 0device
Contrast material was not given. :: 0device
Acute nondisplaced fractures of the left 4th through 6th ribs. :: +fracture
No acute fracture or dislocation. :: -fracture
Old healed right rib fractures. :: +fracture
Chronic compression deformity of L1 with 30 % height loss. :: +fracture
Vertebral body heights are maintained. :: 0fracture
No aggressive osseous lesion. :: -bone_lesion
No lytic-destructive lesion was detected in bone structures. :: -bone_lesion
Multiple sclerotic lesions throughout the spine, concerning for metastases. :: +bone_lesion ?metastasis
Diffuse osteopenia with multilevel degenerative changes. :: +osteopenia +degenerative_change
Sigmoid diverticulosis without diverticulitis. :: +diverticulosis -diverticulitis
The appendix is normal. No bowel obstruction. :: -appendicitis -bowel_obstruction
Dilated fluid-filled appendix measuring 12 mm with periappendiceal fat stranding, consistent with acute appendicitis. :: +appendicitis
No free fluid or free air. :: -ascites -pneumoperitoneum
Trace free fluid in the pelvis, likely physiologic. :: +ascites
Small volume perihepatic ascites. :: +ascites
Pneumoperitoneum is present. :: +pneumoperitoneum
Small fat-containing umbilical hernia. :: +hernia 0hiatal_hernia
No inguinal hernia. :: -hernia
The abdominal aorta is normal in caliber with moderate atherosclerotic calcification. :: -abdominal_aortic_aneurysm +atherosclerosis
Infrarenal abdominal aortic aneurysm measuring 4.6 cm, previously 4.2 cm. :: +abdominal_aortic_aneurysm
No abdominal aortic aneurysm or dissection. :: -abdominal_aortic_aneurysm -aortic_dissection
The infrarenal aorta measures up to 3.4 cm. :: +abdominal_aortic_aneurysm
The main portal vein is patent. No portal vein thrombosis. :: -thrombosis
Nonocclusive thrombus in the right common femoral vein. :: +thrombosis
Filling defect within the superior mesenteric vein. :: +thrombosis
The prostate is enlarged. :: +prostatomegaly
Prostatomegaly with median lobe hypertrophy. :: +prostatomegaly
Atrophic pancreas. :: +pancreatic_atrophy
The pancreas is mildly atrophic without ductal dilatation. :: +pancreatic_atrophy
The pancreas is unremarkable. :: -pancreatitis
Diffuse low attenuation of the liver consistent with hepatic steatosis. :: +hepatic_steatosis
The liver is diffusely hypodense, in keeping with fatty infiltration. :: +hepatic_steatosis
Decreased hepatic attenuation suggestive of steatosis. :: +hepatic_steatosis
Nodular contour of the liver compatible with cirrhosis. :: +cirrhosis
Peripheral reticulation with traction bronchiectasis and honeycombing in a UIP pattern. :: +fibrosis +bronchiectasis
Pleuroparenchymal sequelae density increases are observed in both lung apexes. :: +fibrosis
Centrilobular and paraseptal emphysema, upper lobe predominant. :: +emphysema
Emphysematous changes are not observed. :: -emphysema
Mosaic attenuation pattern in both lungs (small airway disease? small vessel disease?). :: +mosaic_attenuation
Peribronchial thickening is observed in the central parts of both lungs. :: +peribronchial_thickening
Bronchial walls are thickened. :: +peribronchial_thickening
Smooth interlobular septal thickening at the bases. :: +septal_thickening
Interlobular septa are thickened in the lower lobes. :: +septal_thickening
Thickening of the interlobular septa was observed in both lungs. :: +septal_thickening
No nodular or infiltrative lesion is detected in the lung parenchyma. :: -opacity~0 -lung_mass~0
No mass lesion-active infiltration with distinguishable borders was detected in both lungs. :: -opacity -lung_mass
Linear atelectasis in the middle lobe and lingula. :: +atelectasis
Fibroatelectatic changes were observed in the left lower lobe. :: +fibrosis
A 13x9 mm lymph node is observed in the right paratracheal area. :: -lymphadenopathy~0
Aneurysmatic dilatation of the descending aorta. :: +thoracic_aortic_dilatation
Ascending aorta is aneurysmatic with an anterior posterior diameter of 45 mm. :: +thoracic_aortic_dilatation
Thoracic aorta diameter is normal. :: 0thoracic_aortic_dilatation
The main pulmonary artery is dilated, measuring 34 mm. :: +pulmonary_artery_dilatation
CTR increased in favor of the heart. :: +cardiomegaly
Heart contour and size are normal. :: -cardiomegaly
Cardiomegaly is not present. :: -cardiomegaly
Heart size is mildly increased. :: +cardiomegaly
Increased cardiothoracic ratio. :: +cardiomegaly
The heart is borderline enlarged. :: ?cardiomegaly
No evidence of metastatic disease in the chest, abdomen or pelvis. :: -metastasis
Stable pulmonary metastases. :: +metastasis
Bowel wall thickening with submucosal oedema of the ascending colon. :: +submucosal_edema +bowel_wall_thickening
Dilated loops of small bowel with a transition point in the right lower quadrant, compatible with small bowel obstruction. :: +bowel_obstruction +bowel_dilatation
No dilated loops of bowel to suggest obstruction. :: -bowel_dilatation -bowel_obstruction
Diffuse body wall edema. :: +anasarca
Bilateral small pleural effusions with overlying compressive atelectasis. :: +pleural_effusion +atelectasis
Bilateral pleural effusions, right greater than left, have decreased. :: +pleural_effusion
There are no pleural effusions, however there is minimal pericardial fluid. :: -pleural_effusion +pericardial_effusion
Apart from a 4 mm granuloma, no nodules. :: +lung_nodule
No abnormality other than a small hiatal hernia. :: +hiatal_hernia
No new nodules. Stable 5 mm left upper lobe nodule. :: +lung_nodule
No recurrent or residual mass. Postoperative changes of left upper lobectomy. :: -mass
Right thyroid lobe nodule measuring 12 mm. :: +thyroid_nodule 0lung_nodule
A hypodense nodule is observed in the right lobe of the thyroid gland. :: +thyroid_nodule 0lung_nodule
Left adrenal nodule measures 1.8 cm, likely adenoma. :: +adrenal_lesion 0lung_nodule
Bilateral adrenal glands were normal and no space-occupying lesion was detected. :: -adrenal_lesion
Nodular thickening of the left adrenal gland. :: +adrenal_lesion
Uterine fibroids. No adnexal mass. :: +fibroid -adnexal_mass
Mesenteric fat stranding in the right lower quadrant. :: +fat_stranding
Pancreas: Peripancreatic fat stranding and fluid consistent with acute interstitial pancreatitis. :: +pancreatitis
Pancreatic tail cystic lesion 14 mm, likely side branch IPMN. :: +pancreatic_cyst
No focal pancreatic lesion or ductal dilatation. :: -pancreatic_lesion
No focal liver lesion. :: -liver_lesion
The liver is normal in size and attenuation without focal lesion. :: -hepatomegaly -liver_lesion
Bladder wall thickening, correlate for cystitis. :: +bladder_thickening
The gallbladder is distended with layering sludge and stones. :: +gallbladder_sludge +gallstone
Gallbladder contains multiple stones without wall thickening or pericholecystic fluid. :: +gallstone -cholecystitis
Gallbladder is not seen (operated). :: +cholecystectomy
The gallbladder has been removed. :: +cholecystectomy
The liver, spleen, pancreas, and adrenal glands are unremarkable. :: -splenomegaly -hepatic_steatosis
Right lower lobe consolidation with air bronchograms, likely pneumonia. :: +consolidation ?pneumonia
Atelectasis versus pneumonia in the left base. :: ?atelectasis ?pneumonia
?Pneumonia in the lingula. :: ?pneumonia
Subsegmental pulmonary emboli in the right lower lobe. :: +pulmonary_embolism
No CT evidence of acute pulmonary embolus to the segmental level. :: -pulmonary_embolism
Evaluation for pulmonary embolism is limited by motion. :: 0pulmonary_embolism
Trace pericardial fluid, physiologic. :: +pericardial_effusion
Hepatosplenomegaly. :: +hepatomegaly +splenomegaly
Neither hydronephrosis nor calculi are seen in the kidneys. :: -hydronephrosis -kidney_stone
The previously described nodule is no longer seen. :: -lung_nodule
There is no evidence for mediastinal mass, lymphadenopathy, or hilar enlargement. :: -mediastinal_mass -lymphadenopathy
Absence of pleural effusion. :: -pleural_effusion
The lungs are clear without consolidation. Trachea is patent. :: -consolidation
Lungs: Clear. No effusion. :: -pleural_effusion
Hepatic cysts and hemangioma. :: +liver_cyst +liver_hemangioma
In the liver, multiple cysts are seen, the largest 4 cm in segment IV. :: +liver_cyst
The kidneys enhance symmetrically. Left renal cyst. No stones. :: +kidney_cyst
"""

CT_RATE = """
Trachea, both main bronchi are open. Mediastinal main vascular structures, heart contour, size are normal. :: -Cardiomegaly
Millimetric nonspecific nodules are observed in both lungs. :: +Lung nodule
No enlarged lymph nodes in prevascular, pre-paratracheal, subcarinal or bilateral hilar-axillary pathological dimensions were detected. :: -Lymphadenopathy
Lymph nodes not reaching pathological dimensions, below 1 cm, were observed in the mediastinum. :: +Lymphadenopathy
Calcified lymph nodes with a short diameter of 5 mm were observed in the hilar region. :: +Lymphadenopathy
Millimetric calcific atheroma plaques in the wall of the aortic arch. :: +Arterial wall calcification
Calcific plaques are observed in the coronary arteries. :: +Coronary artery wall calcification
A catheter extending from the right internal jugular vein to the superior vena cava was observed. :: +Medical material
Cardiac pacemaker is available. :: +Medical material
Sliding type hiatal hernia was observed at the lower end of the esophagus. :: +Hiatal hernia
Amphysematous changes were observed in both lungs. :: +Emphysema
Linear fibroatelectatic changes were observed in the right lung middle lobe medial segment. :: +Pulmonary fibrotic sequela
Ground-glass-like density increases with a peripheral distribution in both lungs. :: +Lung opacity
Patchy consolidation areas and ground glass density areas in both lungs. :: +Consolidation +Lung opacity
Pleural effusion reaching 3 cm in its thickest part on the right was observed. :: +Pleural effusion
No pleural or pericardial effusion was detected. :: -Pleural effusion -Pericardial effusion
Pleural effusion-thickening was not detected in both hemithorax. :: -Pleural effusion
Minimal bronchiectasis and minimal peribronchial thickening in the central part of both lungs. :: +Bronchiectasis +Peribronchial thickening
Uniform interlobular septal thickenings are observed in both lungs. :: +Interlobular septal thickening
There is thickening of the bronchial walls at the central level. :: +Peribronchial thickening
Aeration of both lung parenchyma is normal and no nodular or infiltrative lesion is detected in the lung parenchyma. :: -Lung nodule~0 0Consolidation
Mosaic attenuation pattern was observed in both lungs. :: +Mosaic attenuation pattern
Thickness increase in the bronchial walls. :: +Peribronchial thickening
A hypodense lesion of 23x11 mm is observed in the upper pole of the spleen. :: 0Lung nodule
A nodule with ground glass density of 7 mm is seen in the left lung lower lobe. :: +Lung nodule
Bilateral pleural effusion and passive atelectasis. :: +Pleural effusion +Atelectasis
Stable millimetric nodules in both lungs. No effusion. :: +Lung nodule -Pleural effusion
Findings in favor of sequela parenchymal changes in both upper lobes. :: +Pulmonary fibrotic sequela
"""

MERLIN = """
Lower Thorax: Small bilateral pleural effusions with adjacent atelectasis. Liver and biliary tree: Normal. Gallbladder: Removed. Spleen: Normal. :: +pleural_effusion +atelectasis +surgically_absent_gallbladder -splenomegaly -hepatomegaly -biliary_ductal_dilation
Vasculature: Patent. Scattered atherosclerosis of the abdominal aorta. :: +atherosclerosis
Kidneys and ureters: Bilateral renal hypodensities, too small to characterize. No hydronephrosis. :: +renal_hypodensities -hydronephrosis 0renal_cyst
Abdominal wall: Fat containing umbilical hernia. Diffuse anasarca. :: +anasarca 0hiatal_hernia
Musculoskeletal: Degenerative changes. No acute fractures. Bones are demineralized. :: -fracture +osteopenia
GI tract: No obstruction. Normal appendix. :: -bowel_obstruction -appendicitis
Peritoneal cavity: No free fluid, no free air. :: -ascites -free_air
Pelvic organs: Prostate is enlarged. Bladder is decompressed. :: +prostatomegaly
Lymph nodes: No abdominal or pelvic lymphadenopathy. :: -lymphadenopathy
Lymph nodes: Several retroperitoneal nodes measure up to 1.4 cm in short axis. :: +lymphadenopathy
Lymph nodes: Subcentimeter retroperitoneal nodes, not pathologically enlarged. :: -lymphadenopathy
Gallbladder: Cholelithiasis. No biliary ductal dilatation. :: +gallstones -biliary_ductal_dilation
Pancreas: Fatty atrophy. No ductal dilatation. :: +pancreatic_atrophy
Heart: Cardiomegaly. Coronary artery calcifications and aortic valve calcification. :: +cardiomegaly +coronary_calcification +aortic_valve_calcification
Liver: Hepatic steatosis. Enlarged at 20 cm. :: +hepatic_steatosis +hepatomegaly
Bowel: Submucosal edema of the rectosigmoid colon consistent with proctocolitis. :: +submucosal_edema
Portal vein thrombosis with cavernous transformation. :: +thrombosis
Peritoneal carcinomatosis and liver metastases. :: +metastatic_disease
"""


def rows(block: str) -> list[tuple[str, str]]:
    return [tuple(line.split(" :: ")) for line in block.strip().splitlines()]  # type: ignore[misc]


SIGNS = {"+": "present", "-": "absent", "?": "uncertain", "0": "not mentioned"}


def expected(text: str) -> list[tuple[str, set[str]]]:
    """``+a -b~0``: label and the states allowed (``~0``: or not mentioned)."""
    import re

    out = []
    for sign, label in re.findall(r"(?:^|\s)([+\-?0])(.+?)(?=\s[+\-?0][A-Za-z]|$)", text):
        label, _, other = label.partition("~")
        out.append((label, {SIGNS[sign]} | {SIGNS[o] for o in other}))
    return out


@pytest.mark.parametrize(("scheme", "text", "wanted"),
                         [(scheme, *row) for scheme, block in (("radvlm", KINDS), ("ct-rate", CT_RATE), ("merlin", MERLIN)) for row in rows(block)])
def test_label(scheme: str, text: str, wanted: str) -> None:
    got = label_report(text, scheme)
    assert expected(wanted)
    wrong = {label: (got[label], states) for label, states in expected(wanted) if got[label] not in states}
    assert not wrong, wrong
