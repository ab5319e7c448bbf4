"""The protocol's name, and the rows of Ledig et al. 2017, table 1 and 2, beside which our numbers stand."""

from __future__ import annotations

PROTOCOL = "srgan-1: x4, 8-bit pictures, Y = BT.601 in 16..235 unrounded, 4 px shaved, mean over pictures"

COUNTS = {"Set5": 5, "Set14": 14, "BSD100": 100}
"""Pictures in each set."""

CONTROL = {"Set5": 28.4302, "Set14": 25.9970, "BSD100": 25.9620}
"""Mean `psnr_y` of bicubic x4 on the paper's pictures: whoever gets another has other pictures."""

PAPER = {
    "Set5": {
        "nearest": {"psnr_y": 26.26, "ssim_daala": 0.7552},
        "bicubic": {"psnr_y": 28.43, "ssim_daala": 0.8211},
        "srresnet": {"psnr_y": 32.05, "ssim_daala": 0.9019},
        "srgan": {"psnr_y": 29.40, "ssim_daala": 0.8472},
        "srgan_mse": {"psnr_y": 30.64, "ssim_daala": 0.8701},
        "srgan_vgg22": {"psnr_y": 29.84, "ssim_daala": 0.8468},
    },
    "Set14": {
        "nearest": {"psnr_y": 24.64, "ssim_daala": 0.7100},
        "bicubic": {"psnr_y": 25.99, "ssim_daala": 0.7486},
        "srresnet": {"psnr_y": 28.49, "ssim_daala": 0.8184},
        "srgan": {"psnr_y": 26.02, "ssim_daala": 0.7397},
        "srgan_mse": {"psnr_y": 26.92, "ssim_daala": 0.7611},
        "srgan_vgg22": {"psnr_y": 26.44, "ssim_daala": 0.7518},
    },
    "BSD100": {
        "nearest": {"psnr_y": 25.02, "ssim_daala": 0.6606},
        "bicubic": {"psnr_y": 25.94, "ssim_daala": 0.6935},
        "srresnet": {"psnr_y": 27.58, "ssim_daala": 0.7620},
        "srgan": {"psnr_y": 25.16, "ssim_daala": 0.6688},
    },
}
"""set -> method -> score; `srgan` is the paper's SRGAN-VGG54."""
