"""Labels of sentences as radiologists write them; ``+`` present, ``-`` absent, ``?`` uncertain, ``0`` not mentioned."""

from __future__ import annotations

import pytest

from radvlm.report_reader.labels import label_report

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
Gallbladder contains multiple stones without wall thickening or pericholecystic fluid. :: +gallstone -gallbladder_wall_thickening
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
Calcific atheroma plaques are observed in the descending aorta, in the aortic arch, and partially in the coronary arteries. :: +coronary_calcification +atherosclerosis
There are areas of bronchiectasis and increased peribronchovascular thickness in both lungs. :: +peribronchial_thickening +bronchiectasis
Thickenings are observed in the interlobular and subpleural interstitial tissue. :: +septal_thickening
Linear density increases consistent with pleuroparenchymal sequelae in the lingula. :: +fibrosis
Infiltration of the mesenteric fat. Catheter tip in the SVC. :: +device
The tip of the appendix is normal. :: -appendicitis
Perihepatic and perisplenic effusion are observed. Calculus with a diameter of approximately 5.5 mm is observed in the gallbladder. :: +gallstone +ascites
Several thoracic vertebrae show old compression fractures. :: +fracture
No occlusive pathology was observed in the lumen. A tracheostomy cannula is observed. :: +device
Left lower lobe collapse with moderate parapneumonic effusion. Right lung clear. :: +atelectasis +pleural_effusion
Spleen: 13.9 cm, mildly enlarged. Splenic vein is patent. :: +splenomegaly
Adrenals: Normal. Kidneys: Symmetric enhancement, 1.2 cm left upper pole cyst. Ureters: Normal. :: +kidney_cyst
Bladder: Foley catheter, decompressed. Prostate: Enlarged, 5.1 cm. :: +prostatomegaly +device
Peritoneum: Trace ascites. No free air. Lymph nodes: None enlarged. :: -lymphadenopathy -pneumoperitoneum +ascites
Osseous: Mild degenerative changes. No aggressive lesions. :: -bone_lesion +degenerative_change
There is a left-sided PICC with tip at the cavoatrial junction. Bilateral layering effusions, left larger than right, with associated compressive atelectasis. :: +atelectasis +pleural_effusion +device
Worsening multifocal airspace opacities, concerning for pneumonia. :: +opacity ?pneumonia
Resolved right pneumothorax. Improving left lower lobe consolidation. :: +consolidation -pneumothorax
Pulmonary arteries: No filling defects to suggest pulmonary embolism. Main PA dilated to 3.4 cm. :: -pulmonary_embolism +pulmonary_artery_dilatation
The right atrium is enlarged. LV normal. :: +chamber_enlargement
Aortic valve calcifications. Mitral annular calcification. Three vessel CAD. :: +aortic_valve_calcification +mitral_calcification
Pathologic right hilar and mediastinal nodes. :: +lymphadenopathy
Postoperative changes of Whipple. Pneumobilia. Pancreatic duct is not dilated. :: +pneumobilia -pancreatic_duct_dilatation
IMPRESSION: NO ACUTE ABNORMALITY. STABLE 4 MM RUL NODULE :: +lung_nodule
Diffusely decreased attenuation of the liver relative to the spleen. :: +hepatic_steatosis
Liver: Hypoattenuating relative to spleen. :: +hepatic_steatosis
Steatotic liver. Fat-containing inguinal hernias bilaterally. :: +hernia +hepatic_steatosis
Subcentimeter low attenuation lesions in the kidneys bilaterally, too small to characterize. :: +kidney_hypodensity
Both pleural spaces contain free fluid up to 3 cm. :: +pleural_effusion 0ascites
Lymph nodes: None enlarged. :: -lymphadenopathy
Nonspecific perinephric stranding. :: +perinephric_stranding 0pyelonephritis
Scattered vascular calcifications. Status post TAVR. :: +arterial_calcification +device
There is a small amount of fluid within the pericardium. :: +pericardial_effusion
A left chest wall pacemaker with leads terminating in the right atrium and right ventricle. :: +device
Diffuse ground glass attenuation and septal thickening compatible with pulmonary edema. :: +ground_glass +pulmonary_edema +septal_thickening
Mild dependent subsegmental atelectasis bilaterally. No evidence of acute infiltrate. :: -opacity +atelectasis
Redemonstrated are multiple bilateral calcified granulomas. :: +lung_nodule
There are a few scattered sub-5 mm pulmonary nodules, for example a 3 mm nodule in the left apex (4:22). :: +lung_nodule
Post-surgical changes of right upper lobectomy with surgical clips in the right hilum. :: +device
Near-complete resolution of previously seen right lower lobe consolidation. :: +consolidation
Esophagus is patulous with small hiatal hernia. :: +hiatal_hernia
Bilateral adrenal glands are normal. No hydronephrosis. There is no nephrolithiasis. :: -kidney_stone -hydronephrosis
The gallbladder is contracted. No calcified gallstones are seen. :: -gallstone
Gallbladder: Unremarkable. No stones. :: -gallstone
Hyperdense material layering in the gallbladder compatible with stones or sludge. :: +gallstone +gallbladder_sludge
There is no intra or extra-hepatic biliary ductal dilation. CBD measures 4 mm. :: -biliary_dilatation
Common bile duct is dilated measuring up to 1.2 cm, likely related to prior cholecystectomy. :: +cholecystectomy +biliary_dilatation
Mild intra- and extrahepatic biliary duct dilatation, stable status post cholecystectomy. :: +cholecystectomy +biliary_dilatation
Kidneys: Multiple bilateral simple renal cysts, largest 5.2 cm at the right upper pole. Left nephrolithiasis. :: +kidney_cyst +kidney_stone
The kidneys are atrophic bilaterally with multiple cysts. :: +kidney_cyst +renal_atrophy
Aorta and branch vessels demonstrate moderate calcified atherosclerotic plaque. No aneurysm. :: +atherosclerosis
Aneurysmal dilatation of the infrarenal abdominal aorta, up to 3.2 cm. :: +abdominal_aortic_aneurysm
Fusiform infrarenal AAA measuring 5.1 x 4.9 cm, not significantly changed. :: +abdominal_aortic_aneurysm
The aorta is nonaneurysmal. IVC filter is noted. :: -aortic_aneurysm +device
Ectatic abdominal aorta measuring 2.7 cm. :: +aortic_ectasia
There is no bowel obstruction or bowel wall thickening. Normal appendix visualized. :: -bowel_obstruction -bowel_wall_thickening -appendicitis
The appendix is surgically absent. :: +appendectomy
The appendix measures 6 mm and is air-filled. No secondary signs of appendicitis. :: -appendicitis
No pneumoperitoneum, pneumatosis, or portal venous gas. :: -pneumatosis -pneumoperitoneum
Moderate to large volume ascites. Diffuse subcutaneous edema. :: +ascites +anasarca
There is trace pelvic free fluid. :: +ascites
Prostate gland is enlarged measuring 5.4 cm in transverse diameter. :: +prostatomegaly
Uterus is absent. No adnexal masses. :: -adnexal_mass +hysterectomy
Degenerative changes of the spine without acute osseous abnormality. :: +degenerative_change
Mild anterior wedging of T12, age indeterminate. :: +fracture
Chronic L2 compression fracture. Bones are diffusely osteopenic. :: +fracture +osteopenia
Multiple bilateral rib fractures in various stages of healing. :: +fracture
No evidence of acute fracture or traumatic malalignment. :: -fracture
Sclerotic focus in the left iliac bone, likely a bone island. :: +bone_lesion
Innumerable osseous metastases. :: +metastasis +bone_lesion
No evidence of recurrent or metastatic disease. :: -metastasis
Splenic vein thrombosis with gastric varices. The portal vein is attenuated but patent. :: +thrombosis
No DVT in the visualized veins. There is a filling defect in the left renal vein. :: +thrombosis
Bland thrombus in the left gonadal vein. :: +thrombosis
Circumferential wall thickening with submucosal edema of the cecum. :: +bowel_wall_thickening +submucosal_edema
Prominent but not pathologically enlarged mesenteric lymph nodes. :: -lymphadenopathy
Retroperitoneal adenopathy has decreased in the interval. :: +lymphadenopathy
Mildly enlarged liver measuring 18.5 cm. Spleen is mildly enlarged. :: +hepatomegaly +splenomegaly
Hepatic steatosis is not present. :: -hepatic_steatosis
Heterogeneous liver attenuation, may reflect geographic fatty infiltration. :: ?hepatic_steatosis
There is no evidence of fatty liver. :: -hepatic_steatosis
Pancreas is fatty replaced. No mass. :: +pancreatic_atrophy -pancreatic_mass
The pancreas is atrophic. :: +pancreatic_atrophy
The lungs demonstrate upper lobe predominant paraseptal emphysema with biapical scarring. :: +fibrosis +emphysema
Lung volumes are low. Coarse reticular opacities and honeycombing at the bases. :: +opacity +fibrosis
No consolidation is identified; however, there are patchy ground-glass opacities bilaterally. :: +ground_glass -consolidation
Lobulated right upper lobe mass measuring 4.5 x 3.9 cm invading the chest wall. :: +lung_mass
Status post median sternotomy. Coronary stents in the LAD. :: +device
Tracheostomy tube in place. Nasogastric tube courses below the diaphragm. :: +device
Port catheter tip in the cavoatrial junction. :: +device
Left breast implant. Cholecystectomy clips. :: +cholecystectomy +device
Calcified mediastinal and hilar lymph nodes compatible with prior granulomatous disease. :: +lymph_node
Bilateral hilar lymphadenopathy, sarcoidosis? :: +lymphadenopathy
Interlobular septal thickening is not observed. :: -septal_thickening
Coronary arteries: no calcification. :: -coronary_calcification
Aortic calcification is absent. :: -arterial_calcification
Heart: Mildly enlarged. Trace pericardial fluid. :: +cardiomegaly +pericardial_effusion
Mild-to-moderate cardiomegaly. :: +cardiomegaly
Cardiac size is at the upper limit of normal. :: -cardiomegaly
No nodule larger than 3 mm is seen. :: -lung_nodule
There is no evidence of pleural effusion, pneumothorax or consolidation on either side; small hiatal hernia is seen. :: -consolidation -pneumothorax -pleural_effusion +hiatal_hernia
No pleural effusion is identified and there is mild cardiomegaly. :: -pleural_effusion +cardiomegaly
Lungs are well expanded without focal consolidation, nodule, or ground-glass opacity, and the airways are patent. :: -lung_nodule -ground_glass -consolidation
Lungs show no consolidation, but mild emphysema is present. :: -consolidation +emphysema
The patient is status post right nephrectomy without evidence of local recurrence. :: +nephrectomy
There is emphysema and no consolidation. :: -consolidation +emphysema
Rather than consolidation, the finding favors atelectasis. :: -consolidation ?atelectasis
Pleural effusion has completely resolved while atelectasis persists. :: +atelectasis -pleural_effusion
Pericardial effusion is no longer seen. :: -pericardial_effusion
A previously noted gallstone is not visualized on this exam. :: -gallstone
Neither pleural effusion nor pneumothorax. :: -pneumothorax -pleural_effusion
Pulmonary nodules: none. :: -lung_nodule
Consolidation (-), effusion (-). :: -consolidation -pleural_effusion
PE: Negative. Effusion: small, right. :: +pleural_effusion -pulmonary_embolism
Bilateral pleural effusion: minimal. :: +pleural_effusion
No obvious lymphadenopathy in the mediastinum, multiple calcified nodes. :: -lymphadenopathy +lymph_node
In the left lung, no effusion; in the right lung, 2 cm effusion. :: +pleural_effusion
It was evaluated in favor of atelectasis. :: +atelectasis
The finding may be compatible with pneumonia. :: ?pneumonia
Appearance compatible with bronchiectasis was observed in the middle lobe. :: +bronchiectasis
No appearance compatible with pneumonia was detected. :: -pneumonia
Pneumonic infiltration is not considered. :: -opacity
Infiltrative changes secondary to infection cannot be ruled out. :: ?opacity
Pathological LAP was not detected in the mediastinum and both hilar regions. :: -lymphadenopathy
No free fluid, lymphadenopathy, or mass in the abdomen or pelvis. :: -lymphadenopathy -ascites -mass
Calcific plaques in LAD. :: +coronary_calcification
No pathologic wall thickening in the bowel loops. :: -bowel_wall_thickening
Ureters are not dilated. :: -hydronephrosis
The previously seen hydronephrosis is improved. :: +hydronephrosis
Cyst in segment 4 of the liver and a 3 mm stone in the right kidney. :: +liver_cyst +kidney_stone
The biliary tree is not dilated. The pancreas enhances homogeneously without ductal dilatation. :: -biliary_dilatation -pancreatic_duct_dilatation
Thyroid gland is heterogeneous with hypodense nodules, largest 15 mm on the right. :: +thyroid_nodule
Increase in thickness in interlobular septa is observed. :: +septal_thickening
Bilateral mild peribronchial thickness increases. :: +peribronchial_thickening
Calibration of the aorta is normal. Calcified atheromatous plaques on its walls. :: +atherosclerosis -aortic_aneurysm
Cardiothoracic index has increased in favor of the heart. :: +cardiomegaly
An increase in heart size is observed. :: +cardiomegaly
Widespread emphysematous areas and sequela fibrotic bands are observed in both lung apices. :: +fibrosis +emphysema
There are occasional pleuroparenchymal recessions in both lungs. :: +fibrosis
Millimetric nonspecific lymph nodes are observed in the mediastinum. :: -lymphadenopathy +lymph_node
Left pleural effusion reaching a thickness of 2 cm and compression atelectasis in the adjacent lung parenchyma. :: +atelectasis +pleural_effusion
Hydropneumothorax is observed on the right. :: +pneumothorax +pleural_effusion
A stent is observed in the coronary artery. There are suture materials in the sternum. :: +device
Cholecystectomy. Nephrolithiasis on the left. :: +cholecystectomy +kidney_stone
The stomach is distended. No wall thickening. :: +bowel_dilatation -bowel_wall_thickening
Free air is observed under the diaphragm. :: +pneumoperitoneum
Small amount of free liquid in the pelvis. :: +ascites
Gallbladder is hydropic; stone cannot be excluded. :: ?gallstone
Wall calcifications in the abdominal aorta and iliac arteries. :: +arterial_calcification
Mild atherosclerosis. The aorta is normal in caliber. :: +atherosclerosis -aortic_aneurysm
No evidence of aneurysm or dissection of the thoracic aorta. :: -thoracic_aortic_dilatation -aortic_dissection
Main pulmonary artery diameter is 32 mm and wider than normal. :: +pulmonary_artery_dilatation
The liver has a nodular contour with caudate hypertrophy. :: +cirrhosis
Spleen is 155 mm and larger than normal. :: +splenomegaly
There is no enlargement of the spleen or liver. :: -hepatomegaly -splenomegaly
Liver and spleen sizes are normal. :: -hepatomegaly -hepatic_steatosis -splenomegaly
"""  # noqa: E501

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
"""  # noqa: E501

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
"""  # noqa: E501


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


BLOCKS = (("radvlm", KINDS), ("ct-rate", CT_RATE), ("merlin", MERLIN))


@pytest.mark.parametrize(("scheme", "text", "wanted"), [(s, *row) for s, block in BLOCKS for row in rows(block)])
def test_label(scheme: str, text: str, wanted: str) -> None:
    got = label_report(text, scheme)
    assert expected(wanted)
    wrong = {label: (got[label], states) for label, states in expected(wanted) if got[label] not in states}
    assert not wrong, wrong


def test_what_was_not_assessed_is_no_finding() -> None:
    text = (
        "FINDINGS:\nOne gallstone.\n\nNOT ASSESSED:\n- hepatic steatosis: the rule needs the non-contrast phase\n"
        "- lymph nodes, ascites: no mask was provided\n"
    )
    labels = label_report(text, scheme="merlin")
    assert labels["gallstones"] == "present"
    assert labels["hepatic_steatosis"] == labels["ascites"] == labels["lymphadenopathy"] == "not mentioned"
