"""CycleGAN: two networks that carry pictures from one domain to another and back, trained without pairs.

J.-Y. Zhu, T. Park, P. Isola and A. A. Efros, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks, ICCV 2017. Domain A are photos, B paintings. Everything here but ``settings`` needs torch, the ``cyclegan``
extra; nothing is imported with this package, so that what does without torch starts without it.
"""
