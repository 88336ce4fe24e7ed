"""The method of chapter 4: contrastive loss, MK-MMD, pseudo inliers and pseudo outliers. Depends on torch alone."""
