"""CycleGAN (Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017).
Domain A are photos, B paintings. All but ``settings`` needs torch (the ``cyclegan`` extra)."""
